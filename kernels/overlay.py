"""The overlay: normalise, upsample, colour and blend a map into a frame, in one pass over its pixels."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from camrt.kernels import reference
from camrt.kernels.maps import F32, Method

U8 = NDArray[np.uint8]


class BlendTable(NamedTuple):
    """A colour map with its opacity, packed for `overlay`; made by `blend_table`."""

    colors: U8
    alpha: NDArray[np.float64]


def blend_table(colors: U8, alpha: ArrayLike) -> BlendTable:
    """Pack a colour map and its opacity.

    Args:
        colors: (256, 3) uint8 BGR, the colour of values 0 to 1.
        alpha: share of the colour in the blend, 0 (frame only) to 1 (colour only); or (256,), one for each value.
    """
    return BlendTable(colors, np.broadcast_to(np.asarray(alpha, np.float64), 256))


def overlay(
    frame: U8,
    cam: F32,
    table: BlendTable,
    *,
    method: Method = "minmax",
    value_range: tuple[float, float] | None = None,
    rect: tuple[int, int, int, int] | None = None,
    map_rect: tuple[float, float, float, float] | None = None,
    out: U8 | None = None,
    rows: tuple[int, int] | None = None,
) -> U8:
    """Draw a map over a frame.

    Args:
        frame: (H, W, 3) uint8, any strides.
        cam: (h, w) float32; a raw map, or a heatmap with method "range" and value_range (0, 1).
        table: from `blend_table`.
        method: see `normalize`.
        value_range: see `normalize`.
        rect: (x0, y0, x1, y1), the part of the frame that the map covers; the whole frame when None. Pixels outside
            are copied unchanged.
        map_rect: (u0, v0, u1, v1) in map cells, the part of the map that ``rect`` shows; the whole map when None.
        out: (H, W, 3) uint8, any strides; may be ``frame`` itself; allocated when None.
        rows: (y0, y1), draw only these rows, so that several threads can share one frame.

    Returns:
        ``out``.
    """
    result = reference.overlay_reference(
        frame, cam, table.colors, table.alpha, method=method, value_range=value_range, rect=rect, map_rect=map_rect
    )
    if out is None:
        out = np.empty_like(frame)
    part = slice(None) if rows is None else slice(*rows)
    out[part] = result[part]
    return out
