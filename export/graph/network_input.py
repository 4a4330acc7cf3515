"""The classifier's input: check it, and fix its size."""

from dataclasses import dataclass
from typing import Literal

from onnx import TensorProto, ValueInfoProto

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
    """Images that the source takes at once, by its input or by a number inside; None: any number."""
    batch_is_inside: bool = False
    """The input takes any number of images, and the graph behind it takes ``batch``."""
    channels: int = 3
    """3 for colour, 1 for grey images, 4 for colour with alpha."""
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
    """Check the graph's input: floats or bytes, [N, C, H, W] or [N, H, W, C], with 1, 3 or 4 channels.

    Args:
        graph: the classifier.
        size: (width, height) in pixels; each is used where the graph leaves it open.

    Raises:
        ExportError: the input is not supported.
        UsageError: the size is needed.
    """
    inputs = list(graph.proto.input)
    if len(inputs) != 1:
        names = ", ".join(repr(value.name) for value in inputs) or "none"
        advice = ": give each of the others a constant, --fix NAME=VALUE (fix={...})" if inputs else ""
        raise ExportError(f"the graph has {len(inputs)} inputs ({names}); an image classifier has one{advice}")
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
            "(colour), 1 (grey) or 4 (colour and alpha): export the network with such an input"
        )
    batch, channels, height, width = (dimensions[layout.index(axis)] for axis in "nchw")
    if size is not None:
        width, height = width or size[0], height or size[1]
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


def _layout(dimensions: tuple[int | None, ...]) -> ImageLayout | None:
    if len(dimensions) != 4:
        return None
    for counts in ((1, 3), (4,)):
        if dimensions[1] in counts:
            return "nchw"
        if dimensions[3] in counts:
            return "nhwc"
    return "nchw" if dimensions[1] is None else None


def _dimensions(value: ValueInfoProto) -> tuple[int | None, ...]:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return (None, None, None, None)
    return tuple(dimension.dim_value or None for dimension in tensor.shape.dim)
