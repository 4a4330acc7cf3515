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

Channels = Literal["rgb", "bgr", "grey", "rgba", "bgra"]
IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)
BYTE: Final = 1 / 255
GREY: Final = (7471, 38470, 19595)
"""Weights of blue, green and red in the brightness of a pixel, in 1/65536 (ITU-R BT.601), as in Pillow's mode L.

OpenCV's weights have 15 bits, so its BGR2GRAY differs by one level for 0.1 % of all colours."""
OPAQUE: Final = 255
"""Alpha of every pixel: images have three channels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """Network input = (pixel * scale - mean) / std, with the channels in the network's order."""

    channels: Channels = "rgb"
    """``grey``: one channel, the brightness, rounded to integers. ``rgba``, ``bgra``: the fourth channel is `OPAQUE`
    everywhere."""
    invert: bool = False
    """Take 255 - pixel for the colours or the brightness."""
    scale: float = BYTE
    mean: Sequence[float] = IMAGENET_MEAN
    """One number a channel, in the network's order, in units of pixel * scale."""
    std: Sequence[float] = IMAGENET_STD
    layout: ImageLayout = "nchw"

    def __post_init__(self) -> None:
        if self.channels not in get_args(Channels):
            raise UsageError(f"channels is {self.channels!r}; it must be rgb or bgr, the order of the network's input")
        numbers = [self.scale, *self.mean, *self.std]
        count = 1 if self.channels == "grey" else len(self.channels)
        if {len(self.mean), len(self.std)} != {count} or not all(math.isfinite(number) for number in numbers):
            each = {1: "one finite number each for a grey image", 4: "three or four finite numbers each, one a channel"}
            default = "three finite numbers each, one a channel"
            raise UsageError(f"mean and std must be {each.get(count, default)}, and scale one finite number")
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
        colours = (self.scale, tuple(self.mean[:3]), tuple(self.std[:3]))
        return colours == (BYTE, IMAGENET_MEAN, IMAGENET_STD)

    @property
    def has_alpha(self) -> bool:
        """True where the network's input has a fourth channel."""
        return len(self.mean) == 4

    def describe(self) -> dict[str, Any]:
        """Return the entry for the model file's metadata."""
        entry = {"channels": self.channels, "scale": self.scale, "mean": list(self.mean), "std": list(self.std)}
        return entry | ({"invert": True} if self.invert else {})

    def apply(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the network's input for images.

        Args:
            images: uint8 (N, H, W, 3), BGR.

        Returns: float32 (N, C, H, W), or (N, H, W, C) for layout "nhwc".
        """
        if self.channels == "grey":
            ordered = (images.astype(np.int64) @ np.array(GREY)[:, None] + 2**15) >> 16
        else:
            ordered = images[..., ::-1] if self.channels.startswith("rgb") else images
        numbers = OPAQUE - ordered.astype(np.float64) if self.invert else ordered.astype(np.float64)
        if self.has_alpha:
            numbers = np.concatenate([numbers, np.full_like(numbers[..., :1], OPAQUE)], axis=-1)
        values = (numbers * self.scale - np.asarray(self.mean)) / np.asarray(self.std)
        if self.layout == "nchw":
            values = values.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(values, dtype=np.float32)

    def _factor_and_offset(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the network's input as factor * pixel + offset, one number a channel each."""
        std = np.asarray(self.std, np.float64)
        factor = np.full(len(std), -self.scale if self.invert else self.scale)
        offset = np.full(len(std), 255 * self.scale if self.invert else 0.0)
        if self.has_alpha:
            factor[3], offset[3] = 0.0, OPAQUE * self.scale
        return (factor / std).astype(np.float32), ((offset - np.asarray(self.mean)) / std).astype(np.float32)

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

        def add_sum_of_channels() -> None:
            if graph.opset < 13:
                add("ReduceSum", axes=[1])
            else:
                add("ReduceSum", np.array([1], np.int64))

        if self.channels == "grey":
            # All numbers here are multiples of 2**-16 below 256, so float32 holds them exactly, in any order of sums.
            # A MatMul would be shorter, but GPUs round its inputs to fewer bits (TF32).
            add("Transpose", perm=[0, 3, 1, 2])
            cast(TensorProto.FLOAT)
            add("Mul", (np.array(GREY, np.float32) / 2**16).reshape(1, 3, 1, 1))
            add_sum_of_channels()
            add("Add", np.array(0.5, np.float32))
            add("Floor")
            if self.layout == "nhwc":
                add("Transpose", perm=[0, 2, 3, 1])
        elif self.layout == "nchw":
            add("Transpose", perm=[0, 3, 1, 2])
        if order := {"rgb": [2, 1, 0], "rgba": [2, 1, 0, 0], "bgra": [0, 1, 2, 2]}.get(self.channels):
            add("Gather", np.array(order, np.int64), axis=self.layout.index("c"))
        factor, offset = self._factor_and_offset()
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
    invert: bool = False

    @property
    def has_numbers(self) -> bool:
        """True where scale, mean or std is set."""
        return not (self.scale is None and self.mean is None and self.std is None)

    def with_fallback(self, fallback: "PreprocessingOptions") -> "PreprocessingOptions":
        """Fill what is not set from ``fallback``. Scale, mean and std belong together: all come from one side."""
        numbers = self if self.has_numbers else fallback
        return PreprocessingOptions(
            channels=self.channels or fallback.channels,
            scale=numbers.scale,
            mean=numbers.mean,
            std=numbers.std,
            invert=self.invert,
        )

    def resolve(self, network_input: NetworkInput) -> Preprocessing:
        """Return the preprocessing for an input.

        Defaults: colour floats are normalised by ImageNet's mean and standard deviation, which count for a scale of
        1/255; with another scale they are 0 and 1. Grey floats are scaled to [0, 1], bytes stay as they are. An alpha
        channel is scaled only, unless mean and std have four numbers.

        Raises:
            UsageError: an option does not fit the input.
        """
        grey, alpha = network_input.channels == 1, network_input.channels == 4
        plain = grey or network_input.takes_bytes or self.scale not in (None, BYTE)
        if grey and self.channels not in (None, "grey"):
            raise UsageError("the network takes grey images, which have no channel order; leave --rgb and --bgr out")
        if network_input.takes_bytes and (self.scale or self.mean or self.std):
            raise UsageError("the network takes pixels as bytes, unscaled; leave --scale, --mean and --std out")
        count = 1 if grey else 3
        mean = ((0.0,) * count if plain else IMAGENET_MEAN) if self.mean is None else tuple(self.mean)
        std = ((1.0,) * count if plain else IMAGENET_STD) if self.std is None else tuple(self.std)
        order = self.channels or ("grey" if grey else "rgb")
        return Preprocessing(
            channels=_WITH_ALPHA.get(order, order) if alpha else order,
            invert=self.invert,
            scale=(1.0 if network_input.takes_bytes else BYTE) if self.scale is None else self.scale,
            mean=(*mean, 0.0) if alpha and len(mean) == 3 else mean,
            std=(*std, 1.0) if alpha and len(std) == 3 else std,
            layout=network_input.layout,
        )


_WITH_ALPHA: Final[dict[Channels, Channels]] = {"rgb": "rgba", "bgr": "bgra"}
