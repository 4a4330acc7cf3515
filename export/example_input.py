"""Find the input that a torch module takes: channels, layout and type."""

from collections.abc import Iterator
from itertools import product

import torch

from camrt.errors import ExportError
from camrt.export.error_text import first_line
from camrt.export.graph.network_input import ImageLayout
from camrt.export.graph.preprocessing import Channels

IMAGES = 2
"""With one image torch would export the batch size as the constant 1."""
_CHANNELS: dict[Channels | None, tuple[int, ...]] = {None: (3, 1, 4), "grey": (1,)}
"""Numbers of channels to try, by the caller's channel order; 3 and 4 with an order of colours."""


def find_example_input(
    module: torch.nn.Module, size: tuple[int, int], channels: Channels | None, *, takes_bytes: bool
) -> torch.Tensor:
    """Return images that a module takes: the first kind of input on which it does not fail.

    Args:
        module: in evaluation mode, on any device.
        size: (width, height) in pixels.
        channels: the caller's channel order; None: not set.
        takes_bytes: the module takes bytes; False: floats, and bytes only where it fails on all floats.

    Returns: (2, C, H, W) or (2, H, W, C), of the type of the module's parameters or uint8.

    Raises:
        ExportError: the module fails on every kind of input.
    """
    failures = []
    for example in _examples(module, size, channels, takes_bytes=takes_bytes):
        try:
            module(example)
        except Exception as error:  # noqa: BLE001 - the user's own code may raise anything
            failures.append((example, error))
        else:
            return example
    example, first = failures[0]
    others = ", ".join(dict.fromkeys(_shape(other) for other, _ in failures[1:]))
    raise ExportError(
        f"{type(module).__name__} cannot run on a {_shape(example)} tensor: {first_line(first)}. It fails on {others} "
        "too, so it is no classifier of images of this size, or its code is wrong"
    ) from first


def _examples(
    module: torch.nn.Module, size: tuple[int, int], channels: Channels | None, *, takes_bytes: bool
) -> Iterator[torch.Tensor]:
    width, height = size
    parameter = next(module.parameters(), torch.empty(0))
    layouts: tuple[ImageLayout, ...] = ("nchw", "nhwc")
    for as_bytes, layout, count in product(
        (True,) if takes_bytes else (False, True), layouts, _CHANNELS.get(channels, (3, 4))
    ):
        shape = (IMAGES, count, height, width) if layout == "nchw" else (IMAGES, height, width, count)
        if as_bytes:
            yield torch.randint(0, 256, shape, dtype=torch.uint8, device=parameter.device)
        else:
            yield torch.rand(shape).to(parameter.device, parameter.dtype)


def _shape(example: torch.Tensor) -> str:
    return "x".join(map(str, example.shape))
