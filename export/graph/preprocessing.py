"""The preprocessing of pixels: in NumPy, and as nodes of the graph."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from camrt.errors import UsageError
from camrt.export.graph.graph import Graph
from camrt.export.graph.network_input import ImageLayout, NetworkInput
from camrt.model_file import IMAGE

Channels = Literal["rgb", "bgr", "grey"]
IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)
BYTE: Final = 1 / 255
GREY: Final = (0.114, 0.587, 0.299)
"""Weights of blue, green and red in the brightness of a pixel (ITU-R BT.601), as in OpenCV and Pillow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """Network input = (pixel * scale - mean) / std, with the channels in the network's order."""

    channels: Channels = "rgb"
    """``grey``: one channel, the brightness, rounded to integers."""
    scale: float = BYTE
    mean: Sequence[float] = IMAGENET_MEAN
    """One number a channel, in the network's order, in units of pixel * scale."""
    std: Sequence[float] = IMAGENET_STD
    layout: ImageLayout = "nchw"

    def __post_init__(self) -> None:
        if self.channels not in get_args(Channels):
            raise UsageError(f"channels is {self.channels!r}; it must be rgb or bgr, the order of the network's input")
        numbers = [self.scale, *self.mean, *self.std]
        count = 1 if self.channels == "grey" else 3
        if {len(self.mean), len(self.std)} != {count} or not all(math.isfinite(number) for number in numbers):
            each = (
                "one finite number each for a grey image" if count == 1 else "three finite numbers each, one a channel"
            )
            raise UsageError(f"mean and std must be {each}, and scale one finite number")
        if self.scale <= 0 or min(self.std) <= 0:
            raise UsageError(f"scale ({self.scale}) and std ({tuple(self.std)}) must be above zero")
        if max(self.mean) > 255 * self.scale * 1.001:
            raise UsageError(
                f"mean {tuple(self.mean)} is above every pixel: with scale {self.scale:.6g} pixels reach "
                f"{255 * self.scale:.6g}. Give means of pixels in 0..255 together with scale 1"
            )

    @property
    def is_imagenet_default(self) -> bool:
        """True for the preprocessing of torchvision's networks."""
        return (self.scale, tuple(self.mean), tuple(self.std)) == (BYTE, IMAGENET_MEAN, IMAGENET_STD)

    def describe(self) -> dict[str, Any]:
        """Return the entry for the model file's metadata."""
        return {"channels": self.channels, "scale": self.scale, "mean": list(self.mean), "std": list(self.std)}

    def apply(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the network's input for images.

        Args:
            images: uint8 (N, H, W, 3), BGR.

        Returns: float32 (N, C, H, W), or (N, H, W, C) for layout "nhwc".
        """
        ordered = images.astype(np.float64)
        if self.channels == "rgb":
            ordered = ordered[..., ::-1]
        elif self.channels == "grey":
            ordered = np.floor(ordered @ np.array(GREY)[:, None] + 0.5)
        values = (ordered * self.scale - np.asarray(self.mean)) / np.asarray(self.std)
        if self.layout == "nchw":
            values = values.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(values, dtype=np.float32)

    def prepend(self, graph: Graph, tensor: str, elem_type: int) -> None:
        """Insert nodes at the start of the graph that compute its input ``tensor`` from ``image``.

        Layout and channel order change while a pixel is still three bytes: with MobileNetV2 at 224x224 this order costs
        0.1 ms of 4.7 ms, and reordering floats costs 0.9 ms.

        Args:
            graph: changed in place.
            tensor: the network's input.
            elem_type: its ``TensorProto`` data type.
        """
        nodes: list[NodeProto] = []
        last, last_type = IMAGE, int(TensorProto.UINT8)

        def add(op_type: str, constant: NDArray[Any] | None = None, **attributes: Any) -> None:
            nonlocal last
            inputs = [last] if constant is None else [last, graph.add_initializer(op_type.lower(), constant)]
            last = graph.unique_name("pixels")
            nodes.append(helper.make_node(op_type, inputs, [last], name=last, **attributes))

        def cast(to: int) -> None:
            nonlocal last_type
            if last_type != to:
                add("Cast", to=to)
            last_type = to

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
class PreprocessingOptions:
    """The caller's options. None: not set, so `resolve` takes what networks of this kind usually need."""

    channels: Channels | None = None
    scale: float | None = None
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None

    @property
    def has_numbers(self) -> bool:
        """True where scale, mean or std is set."""
        return not (self.scale is None and self.mean is None and self.std is None)

    def with_fallback(self, fallback: "PreprocessingOptions") -> "PreprocessingOptions":
        """Fill what is not set from ``fallback``. Scale, mean and std belong together: all come from one side."""
        numbers = self if self.has_numbers else fallback
        return PreprocessingOptions(
            channels=self.channels or fallback.channels, scale=numbers.scale, mean=numbers.mean, std=numbers.std
        )

    def resolve(self, network_input: NetworkInput) -> Preprocessing:
        """Return the preprocessing for an input.

        Defaults: colour floats are normalised by ImageNet's mean and standard deviation, which count for a scale of
        1/255; with another scale they are 0 and 1. Grey floats are scaled to [0, 1], bytes stay as they are.

        Raises:
            UsageError: an option does not fit the input.
        """
        grey = network_input.channels == 1
        plain = grey or network_input.takes_bytes or self.scale not in (None, BYTE)
        if grey and self.channels not in (None, "grey"):
            raise UsageError("the network takes grey images, which have no channel order; leave --rgb and --bgr out")
        if network_input.takes_bytes and (self.scale or self.mean or self.std):
            raise UsageError("the network takes pixels as bytes, unscaled; leave --scale, --mean and --std out")
        count = network_input.channels
        return Preprocessing(
            channels=self.channels or ("grey" if grey else "rgb"),
            scale=(1.0 if network_input.takes_bytes else BYTE) if self.scale is None else self.scale,
            mean=((0.0,) * count if plain else IMAGENET_MEAN) if self.mean is None else self.mean,
            std=((1.0,) * count if plain else IMAGENET_STD) if self.std is None else self.std,
            layout=network_input.layout,
        )
