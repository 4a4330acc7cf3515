"""Colour map with opacity, packed for `overlay`."""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

_ENTRIES: Final = 2048
"""Colours in a table. With this many, rounding to the nearest entry is not visible, and the table (16 KiB) fits in the
first-level cache."""

_MOST_OFF: Final = 0.94
"""Largest error of a blend before rounding, in grey levels: one, less the error of 16-bit arithmetic."""

_LINE_SLACK: Final = 16
"""Distance of a changing opacity from the ends of the 16-bit range, a sixteenth of a grey level. A straight line is
rounded in each row, so it may end slightly outside its last value; without this distance it would wrap around."""

_MOST_CHANGE: Final = 127.0
"""Largest difference of the ends of a straight line, in grey levels; 256 times as much fits in signed 16 bits."""


class BlendTable(NamedTuple):
    """A colour map with its opacity, packed for `overlay` by `blend_table`."""

    colors: NDArray[np.uint64]
    """(entries,), each four uint16: 256 * opacity * blue + 128, the same for green and red, and an unused one."""
    keep: NDArray[np.uint64]
    """(entries,), each four equal uint16: 65536 * (1 - opacity); (1,) if all values have one opacity."""
    straight: float
    """Number of entries over which a straight line is within one grey level of the blend."""


def blend_table(colors: NDArray[np.uint8], alpha: ArrayLike) -> BlendTable:
    """Pack a colour map and its opacity.

    Args:
        colors: (256, 3) uint8 BGR, the colours of values 0 to 1.
        alpha: share of the colour in the blend, 0 (frame only) to 1 (colour only); or (256,), one share for each value.

    Raises:
        ValueError: other shapes, or an opacity outside [0, 1].
    """
    opacity = np.asarray(alpha, np.float64)
    if colors.shape != (256, 3) or opacity.shape not in ((), (256,)):
        raise ValueError(f"colors {colors.shape} and alpha {opacity.shape} must be (256, 3), and () or (256,)")
    if not ((opacity >= 0.0) & (opacity <= 1.0)).all():
        raise ValueError(f"alpha must be within [0, 1], not {opacity}")
    position = np.linspace(0.0, 255.0, _ENTRIES)
    levels = np.arange(256.0)
    share = np.interp(position, levels, np.broadcast_to(opacity, 256))
    packed = np.zeros((_ENTRIES, 4), np.uint16)
    for channel in range(3):
        packed[:, channel] = np.rint(256.0 * share * np.interp(position, levels, colors[:, channel])) + 128
    margin = _LINE_SLACK if opacity.ndim else 0
    kept = np.clip(np.rint(65536.0 * (1.0 - share)), margin, 65535 - margin).astype(np.uint16)
    keep = np.repeat(kept, 4).view(np.uint64)
    straight = _straight(packed[:, :3] / 256.0, kept.astype(np.float64) * (255.0 / 65536.0))
    return BlendTable(packed.view(np.uint64).ravel(), keep if opacity.ndim else keep[:1], straight)


def _straight(black: NDArray[np.float64], kept_white: NDArray[np.float64]) -> float:
    """Return `BlendTable.straight`.

    Args:
        black: (entries, 3), the blends with a black frame, in grey levels. Every other blend lies between those with a
            black and with a white frame, and so does its distance from a straight line.
        kept_white: (entries,), the remaining part of a white frame, in grey levels.
    """
    blends = np.concatenate([black, black + kept_white[:, np.newaxis]], axis=1).T  # (6, entries)
    rounding = 0.5 * float(np.abs(np.diff(blends)).max())  # a value is rounded to the nearest entry
    straight = 0
    for length in (4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 56, 64, 80, 96, 128):
        first, last = blends[:, :-length], blends[:, length:]
        bent = max(
            float(np.abs(blends[:, k : k - length] - (first + (last - first) * (k / length))).max())
            for k in range(1, length)
        )
        change = max(float(np.abs(ends[length:] - ends[:-length]).max()) for ends in (black, kept_white))
        if rounding + bent > _MOST_OFF or change > _MOST_CHANGE:
            break
        straight = length
    return float(straight)
