"""Small residual network for edge devices; its maps have 8 to 15 cells a side, whatever the input's size."""

from typing import Final

import torch
from torch import nn

WIDTHS: Final = {"gap-xs": 8, "gap-s": 16, "gap-m": 24, "gap-l": 32}
"""Channels of the first convolution; they double with each halving of the map."""
SMALLEST_MAP: Final = 8
"""Cells of a map's side below which the map is not halved."""
LAST_BLOCKS: Final = 3
"""Blocks of the last stage: with them each cell sees the whole input, so that shapes are learnt as well as textures."""
_MOST_DOUBLINGS: Final = 3


class _Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*_convolution(channels, channels), *_convolution(channels, channels)[:-1])

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return maps of the same shape."""
        return torch.relu(maps + self.body(maps))


def _convolution(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]


def small_backbone(name: str, size: int) -> tuple[nn.Module, int]:
    """Return the convolutions of a small network with random weights, and the number of their output channels.

    Args:
        name: one of `WIDTHS`.
        size: side of the input in pixels, 32 or more.
    """
    halvings = 0
    while size >> (halvings + 1) >= SMALLEST_MAP:
        halvings += 1
    channels = WIDTHS[name]
    layers = _convolution(3, channels, 2)
    for stage in range(1, halvings):
        wider = WIDTHS[name] * 2 ** min(stage, _MOST_DOUBLINGS)
        layers += _convolution(channels, wider, 2)
        layers += [_Block(wider) for _ in range(LAST_BLOCKS if stage == halvings - 1 else 1)]
        channels = wider
    return nn.Sequential(*layers), channels
