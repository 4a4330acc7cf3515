"""The classifier's input: check it, fix its size, and open its batch."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from onnx import TensorProto, ValueInfoProto, helper

from camrt.errors import ExportError, UsageError
from camrt.export.graph.graph import Graph
from camrt.export.graph.read import FLOATS

ImageLayout = Literal["nchw", "nhwc"]
"""Order of the input's axes: channels first or last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkInput:
    """The input of a classifier."""

    name: str
    elem_type: int
    """``TensorProto`` data type."""
    width: int
    """In pixels."""
    height: int
    """In pixels."""
    batch: int | None
    """Images that the source takes at once; None: any number."""
    channels: int = 3
    """3 for colour, 1 for grey images."""
    layout: ImageLayout = "nchw"

    @property
    def takes_bytes(self) -> bool:
        """True where the network takes pixels as bytes, False where it takes floats."""
        return self.elem_type == TensorProto.UINT8

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.width, self.height

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of one image."""
        if self.layout == "nhwc":
            return (1, self.height, self.width, self.channels)
        return (1, self.channels, self.height, self.width)


def read_input(graph: Graph, size: tuple[int, int] | None) -> NetworkInput:
    """Check the graph's input: floats or bytes, [N, C, H, W] or [N, H, W, C], with 3 or 1 channels.

    Args:
        graph: the classifier.
        size: (width, height) in pixels, for a graph that leaves them open.

    Raises:
        ExportError: the input is not supported.
        UsageError: the size is needed, or differs from the network's.
    """
    inputs = list(graph.proto.input)
    if len(inputs) != 1:
        names = ", ".join(repr(value.name) for value in inputs) or "none"
        raise ExportError(f"the graph has {len(inputs)} inputs ({names}); an image classifier has one")
    value = inputs[0]
    dimensions = _dimensions(value)
    shape = f"[{', '.join(str(length or '?') for length in dimensions)}]"
    elem_type = value.type.tensor_type.elem_type
    if elem_type not in {*FLOATS, TensorProto.UINT8}:
        raise ExportError(
            f"input {value.name!r} takes {TensorProto.DataType.Name(elem_type)} numbers; supported are FLOAT, "
            "FLOAT16, DOUBLE and UINT8 images: export the network without its own preprocessing"
        )
    layout = _layout(dimensions)
    if layout is None:
        raise ExportError(
            f"input {value.name!r} has shape {shape}; supported are [N, C, H, W] and [N, H, W, C] with 3 channels "
            "(colour) or 1 (grey): export the network with such an input"
        )
    batch, channels, height, width = (dimensions[layout.index(axis)] for axis in "nchw")
    if size is not None and (width not in (None, size[0]) or height not in (None, size[1])):
        raise UsageError(
            f"size {size[0]}x{size[1]} differs from that of input {value.name!r}, {shape}; leave --size out"
        )
    if size is not None:
        width, height = size
    if width is None or height is None:
        raise UsageError(f"input {value.name!r} is {shape}, of any size; choose one with --size WIDTHxHEIGHT")
    return NetworkInput(
        name=value.name,
        elem_type=elem_type,
        width=width,
        height=height,
        batch=batch,
        channels=channels or 3,
        layout=layout,
    )


def make_batch_dynamic(graph: Graph, network_input: NetworkInput) -> None:
    """Let the graph take any number of images: change its input, and the Reshapes that fix the batch size."""
    value = graph.proto.input[0]
    dimensions: list[str | int | None] = ["N", *network_input.shape[1:]]
    value.CopyFrom(helper.make_tensor_value_info(value.name, network_input.elem_type, dimensions))
    del graph.proto.value_info[:]  # shapes of the old batch
    for output in graph.proto.output:
        output.type.tensor_type.ClearField("shape")
    if network_input.batch is None:
        return
    for node in graph.proto.node:
        if node.op_type == "Reshape" and graph.constant(node.input[0]) is None:
            shape = graph.constant(node.input[1])
            if shape is not None and shape.size > 1 and shape[0] == network_input.batch:
                # 0 copies the batch size of the input, unless allowzero makes it an empty dimension.
                first = 0 if -1 in shape else -1
                attributes = [entry for entry in node.attribute if entry.name != "allowzero"]
                del node.attribute[:]
                node.attribute.extend(attributes)
                node.input[1] = graph.add_initializer("shape", np.array([first, *shape[1:]], np.int64))


def _layout(dimensions: tuple[int | None, ...]) -> ImageLayout | None:
    if len(dimensions) != 4:
        return None
    if dimensions[1] in (1, 3):
        return "nchw"
    if dimensions[3] in (1, 3):
        return "nhwc"
    return "nchw" if dimensions[1] is None else None


def _dimensions(value: ValueInfoProto) -> tuple[int | None, ...]:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return (None, None, None, None)
    return tuple(dimension.dim_value or None for dimension in tensor.shape.dim)
