"""What happens to the pixels before the network: as numbers, in NumPy, and as nodes of the graph."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from camrt.errors import UsageError
from camrt.export.graph.graph import Graph
from camrt.export.graph.network_input import Layout, NetworkInput
from camrt.model_file import IMAGE

Channels = Literal["rgb", "bgr", "grey"]
IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)
BYTE: Final = 1 / 255
GREY: Final = (0.114, 0.587, 0.299)
"""Shares of blue, green and red in the brightness of a pixel (ITU-R BT.601), as in OpenCV and Pillow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """Network input = (pixel * scale - mean) / std, the channels in the order that the network wants."""

    channels: Channels = "rgb"
    """``grey``: one channel, the brightness, rounded to whole numbers."""
    scale: float = BYTE
    mean: Sequence[float] = IMAGENET_MEAN
    """One number a channel, in the network's order, in units of pixel * scale."""
    std: Sequence[float] = IMAGENET_STD
    layout: Layout = "nchw"

    def __post_init__(self) -> None:
        if self.channels not in get_args(Channels):
            raise UsageError(f"channels is {self.channels!r}; it must be rgb or bgr, whichever the network wants")
        numbers = [self.scale, *self.mean, *self.std]
        count = 1 if self.channels == "grey" else 3
        if {len(self.mean), len(self.std)} != {count} or not all(math.isfinite(number) for number in numbers):
            each = "one number each for a grey picture" if count == 1 else "three numbers each, one a channel"
            raise UsageError(f"mean and std are {each}, and scale is one number")
        if self.scale <= 0 or min(self.std) <= 0:
            raise UsageError(f"scale ({self.scale}) and std ({tuple(self.std)}) must be above zero")
        if max(self.mean) > 255 * self.scale * 1.001:
            raise UsageError(
                f"mean {tuple(self.mean)} lies above every pixel: with scale {self.scale:.6g} pixels reach "
                f"{255 * self.scale:.6g}. Means of pixels in 0..255 need scale 1"
            )

    @property
    def is_imagenets(self) -> bool:
        """True for what torchvision's networks want."""
        return (self.scale, tuple(self.mean), tuple(self.std)) == (BYTE, IMAGENET_MEAN, IMAGENET_STD)

    def describe(self) -> dict[str, Any]:
        """Return what the model file's metadata says of it."""
        return {"channels": self.channels, "scale": self.scale, "mean": list(self.mean), "std": list(self.std)}

    def apply(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Make the network's input of pictures.

        Args:
            pictures: uint8 (N, H, W, 3), BGR.

        Returns: float32 (N, C, H, W), or (N, H, W, C) as the layout says.
        """
        ordered = pictures.astype(np.float64)
        if self.channels == "rgb":
            ordered = ordered[..., ::-1]
        elif self.channels == "grey":
            ordered = np.floor(ordered @ np.array(GREY)[:, None] + 0.5)
        values = (ordered * self.scale - np.asarray(self.mean)) / np.asarray(self.std)
        if self.layout == "nchw":
            values = values.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(values, dtype=np.float32)

    def prepend(self, graph: Graph, tensor: str, elem_type: int) -> None:
        """Put nodes before the graph that compute its input ``tensor`` from ``image``.

        Layout and channel order are changed while a pixel is still three bytes: measured with MobileNetV2 at 224x224
        this order costs 0.1 ms of 4.7, reordering floats 0.9 ms.
        """
        nodes: list[NodeProto] = []
        last, kind = IMAGE, int(TensorProto.UINT8)

        def add(op_type: str, constant: NDArray[Any] | None = None, **attributes: Any) -> None:
            nonlocal last
            inputs = [last] if constant is None else [last, graph.add_initializer(op_type.lower(), constant)]
            last = graph.fresh("pixels")
            nodes.append(helper.make_node(op_type, inputs, [last], name=last, **attributes))

        def cast(to: int) -> None:
            nonlocal kind
            if kind != to:
                add("Cast", to=to)
            kind = to

        if self.channels == "grey":
            cast(TensorProto.FLOAT)
            add("MatMul", np.array(GREY, np.float32)[:, None])
            add("Add", np.array(0.5, np.float32))
            add("Floor")
        if self.layout == "nchw":
            add("Transpose", perm=[0, 3, 1, 2])
        if self.channels == "rgb":
            add("Gather", np.array([2, 1, 0], np.int64), axis=self.layout.index("c"))
        std = np.asarray(self.std, np.float64)
        factor = (self.scale / std).astype(np.float32)
        offset = (-np.asarray(self.mean) / std).astype(np.float32)
        shape = [-1 if axis == "c" else 1 for axis in self.layout]
        if (factor != 1).any() or (offset != 0).any() or elem_type != TensorProto.UINT8:
            cast(TensorProto.FLOAT)
        if (factor != 1).any():
            add("Mul", factor.reshape(shape))
        if (offset != 0).any():
            add("Add", offset.reshape(shape))
        cast(elem_type)
        if not nodes:
            add("Identity")
        nodes[-1].output[0] = tensor
        for index, node in enumerate(nodes):
            graph.proto.node.insert(index, node)
        graph.reindex()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pixels:
    """What the caller says of the preprocessing; None: nothing, so it is what the network most likely wants."""

    channels: Channels | None = None
    scale: float | None = None
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None

    def completed(self, others: "Pixels") -> "Pixels":
        """Return self with what ``others`` say in place of what self does not; of scale, mean, std all or none."""
        silent = self.scale is None and self.mean is None and self.std is None
        numbers = others if silent else self
        return Pixels(
            channels=self.channels or others.channels, scale=numbers.scale, mean=numbers.mean, std=numbers.std
        )

    def settle(self, network_input: NetworkInput) -> Preprocessing:
        """Return the preprocessing for an input.

        Floats of a colour picture are taken to be normalised by ImageNet's mean and standard deviation, those of a grey
        one to be between 0 and 1; bytes go in as they are.

        Raises:
            UsageError: what was said does not fit the input.
        """
        grey = network_input.channels == 1
        plain = grey or network_input.takes_bytes
        if grey and self.channels not in (None, "grey"):
            raise UsageError(
                "the network takes grey pictures, which have no order of colours; leave --rgb and --bgr out"
            )
        if network_input.takes_bytes and (self.scale or self.mean or self.std):
            raise UsageError("the network takes pixels as bytes, as they are; leave --scale, --mean and --std out")
        count = network_input.channels
        return Preprocessing(
            channels=self.channels or ("grey" if grey else "rgb"),
            scale=(1.0 if network_input.takes_bytes else BYTE) if self.scale is None else self.scale,
            mean=((0.0,) * count if plain else IMAGENET_MEAN) if self.mean is None else self.mean,
            std=((1.0,) * count if plain else IMAGENET_STD) if self.std is None else self.std,
            layout=network_input.layout,
        )
