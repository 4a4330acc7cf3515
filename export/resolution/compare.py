"""Compare two graphs that must give the same numbers."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from camrt.errors import ExportError
from camrt.export.graph.graph import copy_model
from camrt.export.graph.network_input import NetworkInput
from camrt.export.graph.session import open_session, run_session
from camrt.export.graph.synthetic_images import synthetic_images
from camrt.export.resolution.tensor_sizes import Shape
from camrt.export.verify.checks import HALF_TOLERANCE, TOLERANCE

_IMAGES = 4
"""Synthetic images, each in both ranges."""
_RANGES = ((4 / 255, -2.0), (1.0, 0.0))
"""Factor and addend of a pixel: as after a normalisation, and as it is."""
Outputs = list[NDArray[np.float64]]


def network_inputs(network_input: NetworkInput) -> NDArray[np.generic]:
    """Return inputs of a network, (N, ...), from synthetic images: in several ranges, if it takes floats."""
    images = synthetic_images(network_input.width, network_input.height)[:: 8 // _IMAGES, ..., :1]
    images = np.repeat(images, network_input.channels, axis=3)
    if network_input.layout == "nchw":
        images = images.transpose(0, 3, 1, 2)
    if network_input.takes_bytes:
        return np.ascontiguousarray(images)
    dtype = helper.tensor_dtype_to_np_dtype(network_input.elem_type)
    return np.concatenate([images * factor + addend for factor, addend in _RANGES]).astype(dtype)


def run_outputs(model: ModelProto, names: Sequence[str], inputs: NDArray[np.generic], batch: int | None) -> Outputs:
    """Run a graph on one input at a time.

    Args:
        model: the graph.
        names: the outputs to return.
        inputs: (N, ...).
        batch: the number of images that the graph takes at once; None: any number.

    Raises:
        ExportError: it fails.
    """
    session = open_session(model, "the classifier")
    rows = [run_session(session, list(names), np.repeat(one[None], batch or 1, axis=0), "the classifier")
            for one in inputs]  # fmt: skip
    return [np.stack([value[:1] if batch and len(value) == batch else value for value in column]).astype(np.float64)
            for column in zip(*rows, strict=True)]  # fmt: skip


def largest_error(values: Outputs, expected: Outputs) -> float:
    """Return the largest error of all outputs, relative to the largest number of each.

    Numbers of ``expected`` that are not finite must be the same in ``values``; else the error is infinite.
    """
    errors = [0.0]
    for ours, theirs in zip(values, expected, strict=True):
        if ours.size != theirs.size:
            return np.inf
        first, second = ours.reshape(len(ours), -1), theirs.reshape(len(theirs), -1)
        finite = np.isfinite(second)
        if not np.array_equal(first[~finite], second[~finite], equal_nan=True):
            return np.inf
        scale = np.abs(second[finite]).max(initial=0) or 1.0
        errors.append(float(np.abs(first - second, where=finite, out=np.zeros_like(first)).max(initial=0) / scale))
    return max(errors)


def tolerance_of(network_input: NetworkInput) -> float:
    """Return the largest relative error of two graphs that compute the same in another order."""
    return HALF_TOLERANCE if network_input.elem_type == TensorProto.FLOAT16 else TOLERANCE


def with_input_shape(model: ModelProto, shape: Sequence[str | int | None]) -> ModelProto:
    """Return a copy of a model with another shape of its input, and no other shapes."""
    copy = copy_model(model)
    value = copy.graph.input[0]
    kind = value.type.tensor_type.elem_type
    value.CopyFrom(helper.make_tensor_value_info(value.name, kind, list(shape)))
    del copy.graph.value_info[:]
    for output in copy.graph.output:
        output.type.tensor_type.ClearField("shape")
    return copy


def any_size(model: ModelProto, network_input: NetworkInput) -> ModelProto:
    """Return a copy of a model whose input has any size."""
    channels = network_input.channels
    is_nhwc = network_input.layout == "nhwc"
    return with_input_shape(
        model, ["N", "height", "width", channels] if is_nhwc else ["N", channels, "height", "width"]
    )


def check_outputs(
    model: ModelProto, network_input: NetworkInput, shapes: Sequence[Shape], names: Sequence[str]
) -> None:
    """Check that a graph runs, and that its outputs have the shapes that they had before.

    Args:
        model: the graph.
        network_input: at the new size.
        shapes: of each output for one image, without the batch.
        names: the outputs.

    Raises:
        ExportError: it fails, or an output has another shape.
    """
    dtype = helper.tensor_dtype_to_np_dtype(network_input.elem_type)
    outputs = run_outputs(model, names, np.zeros(network_input.shape, dtype), None)
    for name, output, shape in zip(names, outputs, shapes, strict=True):
        if output.shape[1:] != shape:
            raise ExportError(
                f"output {name!r} has shape {list(output.shape[2:])} for each image at "
                f"{network_input.width}x{network_input.height} pixels, and {list(shape[1:])} at its own size"
            )
