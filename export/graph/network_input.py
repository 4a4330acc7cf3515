"""The classifier's input: what it must be, and how its batch and size are settled."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from onnx import TensorProto, ValueInfoProto, helper

from camrt.errors import ExportError, UsageError
from camrt.export.graph.graph import Graph
from camrt.export.graph.read import FLOATS

Layout = Literal["nchw", "nhwc"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkInput:
    """The input of a classifier."""

    name: str
    elem_type: int
    width: int
    height: int
    batch: int | None
    """How many pictures the source takes at once; None: any number."""
    channels: int = 3
    """3 for colour, 1 for grey pictures."""
    layout: Layout = "nchw"

    @property
    def takes_bytes(self) -> bool:
        """True where pixels go in as they are; else they are scaled to floats first."""
        return self.elem_type == TensorProto.UINT8

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.width, self.height

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of one picture."""
        if self.layout == "nhwc":
            return (1, self.height, self.width, self.channels)
        return (1, self.channels, self.height, self.width)


def read_input(graph: Graph, size: tuple[int, int] | None) -> NetworkInput:
    """Check the graph's input, floats or bytes [N, C, H, W] or [N, H, W, C] of 3 or 1 channels, and settle its size.

    Args:
        graph: the classifier.
        size: (width, height) for a graph that leaves them open.

    Raises:
        ExportError: an input that is not supported.
        UsageError: the size is needed, or is not the network's.
    """
    inputs = list(graph.proto.input)
    if len(inputs) != 1:
        names = ", ".join(repr(graph.shown(value.name)) for value in inputs) or "none"
        raise ExportError(f"the graph has {len(inputs)} inputs ({names}); a classifier of pictures has one")
    value = inputs[0]
    dimensions = _dimensions(value)
    name = graph.shown(value.name)
    shown = f"[{', '.join(str(length or '?') for length in dimensions)}]"
    elem_type = value.type.tensor_type.elem_type
    if elem_type not in {*FLOATS, TensorProto.UINT8}:
        kind = TensorProto.DataType.Name(elem_type)
        raise ExportError(
            f"input {name!r} takes {kind} numbers; supported are FLOAT, FLOAT16, DOUBLE and UINT8 pictures: export the "
            "network without its own preprocessing"
        )
    layout = _layout(dimensions)
    if layout is None:
        raise ExportError(
            f"input {name!r} has shape {shown}; supported are [N, C, H, W] and [N, H, W, C] with 3 channels (colour) "
            "or 1 (grey): export it for pictures"
        )
    channels_axis = layout.index("c")
    batch, height, width = (dimensions[layout.index(axis)] for axis in "nhw")
    if size is not None and (width not in (None, size[0]) or height not in (None, size[1])):
        raise UsageError(
            f"size {size[0]}x{size[1]} is not that of input {name!r}: {shown}; leave --size (size=...) out"
        )
    if size is None and (width is None or height is None):
        raise UsageError(f"input {name!r} is {shown}: any size; say which with --size WIDTHxHEIGHT (size=...)")
    if size is not None:
        width, height = size
    assert width is not None  # the lines above settled it; the type checker does not see that
    assert height is not None
    return NetworkInput(
        name=value.name,
        elem_type=elem_type,
        width=width,
        height=height,
        batch=batch,
        channels=dimensions[channels_axis] or 3,
        layout=layout,
    )


def free_batch(graph: Graph, network_input: NetworkInput) -> None:
    """Let the graph take any number of pictures: its input, and the Reshapes that have the batch written in."""
    value = graph.proto.input[0]
    sizes: list[str | int | None] = ["N", *network_input.shape[1:]]
    value.CopyFrom(helper.make_tensor_value_info(value.name, network_input.elem_type, sizes))
    del graph.proto.value_info[:]  # shapes of the old batch
    for output in graph.proto.output:
        output.type.tensor_type.ClearField("shape")
    if network_input.batch is None:
        return
    for node in graph.proto.node:
        if node.op_type == "Reshape" and graph.constant(node.input[0]) is None:
            shape = graph.constant(node.input[1])
            if shape is not None and shape.size > 1 and shape[0] == network_input.batch:
                # 0 copies the batch of what goes in, unless allowzero takes it for an empty dimension.
                first = 0 if -1 in shape else -1
                flags = [entry for entry in node.attribute if entry.name != "allowzero"]
                del node.attribute[:]
                node.attribute.extend(flags)
                node.input[1] = graph.add_initializer("shape", np.array([first, *shape[1:]], np.int64))


def _layout(dimensions: tuple[int | None, ...]) -> Layout | None:
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
