"""Errors of numbers in 16-bit floats: of activations on real images, of constants, and of a whole file."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from camrt.export.graph.graph import Graph, copy_model
from camrt.export.graph.session import open_session, run_session
from camrt.export.graph.synthetic_images import Images

Array = NDArray[Any]

LARGEST: Final = 65504.0
"""The largest 16-bit float."""
_TINY: Final = float(np.finfo(np.float32).tiny)


def activations(backbone: ModelProto, images: Images) -> Iterator[dict[str, Array]]:
    """Yield the float32 tensors of a network for one image after the other: what its nodes give, by name.

    Args:
        backbone: the network.
        images: uint8 (N, H, W, 3), BGR, at the network's size.
    """
    model = copy_model(backbone)
    names = [name for node in model.graph.node for name in node.output if name]
    del model.graph.output[:]
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    session = open_session(model, "the network")
    for image in images:
        values = dict(zip(names, run_session(session, names, image[None], "the network"), strict=True))
        yield {name: value for name, value in values.items() if value.dtype == np.float32}


def largest_numbers(backbone: ModelProto, images: Images) -> dict[str, float]:
    """Return the largest absolute value of each float32 tensor of a network over all images."""
    largest: dict[str, float] = {}
    for tensors in activations(backbone, images):
        for name, values in tensors.items():
            largest[name] = max(largest.get(name, 0.0), float(np.abs(values).max(initial=0.0)))
    return largest


def storage_error(values: Array, exponent: int, size: float | None = None) -> float:
    """Return the error of ``values * 2 ** exponent`` in 16-bit floats, root mean square, relative to the values'.

    Args:
        values: float32 of any shape.
        exponent: of the scale.
        size: another number that the error is relative to, if it is larger; a bias is added to that.

    Returns: about 0.0002 if all numbers are in the range of 16-bit floats; inf if one is above it.
    """
    with np.errstate(over="ignore"):
        scaled = np.ldexp(values, exponent)
        half = scaled.astype(np.float16)
    if not np.isfinite(half).all():
        return float("inf")
    reference = max(_root_mean_square(scaled), 0.0 if size is None else float(np.ldexp(size, exponent)), _TINY)
    return _root_mean_square(half - scaled) / reference


def storage_errors(
    backbone: ModelProto, images: Images, exponents: Mapping[str, Collection[int]]
) -> dict[tuple[str, int], float]:
    """Return the largest `storage_error` of tensors over all images.

    Args:
        backbone: the network.
        images: as in `activations`.
        exponents: of the scales in which the file has a tensor, by tensor.

    Returns: by tensor and exponent.
    """
    errors: dict[tuple[str, int], float] = {}
    for tensors in activations(backbone, images):
        for name, values in tensors.items():
            for exponent in exponents.get(name, ()):
                error = storage_error(values, exponent)
                errors[name, exponent] = max(errors.get((name, exponent), 0.0), error)
    return errors


def _root_mean_square(values: Array) -> float:
    largest = float(np.abs(values).max(initial=0.0))  # squares of float32 numbers below 1e-19 vanish
    return largest * float(np.sqrt(np.mean(np.square(values / largest), dtype=np.float64))) if largest else 0.0


def round_like_half(model: ModelProto) -> ModelProto:
    """Return a float32 model that rounds every tensor which ``model`` has in 16-bit floats.

    ONNX Runtime's CPU provider computes 16-bit nodes in float32 and keeps float32 between them, so that nothing
    overflows or vanishes there. A device with 16-bit arithmetic writes each tensor to memory in 16 bits. This model
    does so too: after each node is a pair of Cast nodes, which ONNX Runtime does not remove.
    """
    rounding = Graph(copy_model(model))
    rounding.infer_shapes()
    halves = {name for node in rounding.proto.node for name in node.output if _is_half(rounding, name)}
    for tensor in rounding.proto.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    nodes = []
    for node in list(rounding.proto.node):
        for entry in node.attribute:
            if entry.name in ("to", "dtype") and entry.i == TensorProto.FLOAT16:
                entry.i = TensorProto.FLOAT
            elif entry.t.data_type == TensorProto.FLOAT16:
                entry.t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(entry.t).astype(np.float32)))
        nodes.append(node)
        for position, name in enumerate(node.output):
            if name in halves:
                exact, half = rounding.unique_name("exact"), rounding.unique_name("half")
                node.output[position] = exact
                nodes.append(helper.make_node("Cast", [exact], [half], to=TensorProto.FLOAT16))
                nodes.append(helper.make_node("Cast", [half], [name], to=TensorProto.FLOAT))
    copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del rounding.proto.node[:]
    rounding.proto.node.extend(copies)
    del rounding.proto.value_info[:]
    return rounding.model


def _is_half(graph: Graph, name: str) -> bool:
    return bool(name) and graph.elem_type(name) == TensorProto.FLOAT16
