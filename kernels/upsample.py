"""Bilinear resize of a map, or of a part of it, to the pixels of a frame."""

import numpy as np

from camrt.kernels.jit import kernel
from camrt.kernels.maps import F32, buffer, canonical

Rect = tuple[float, float, float, float]


def upsample(heatmap: F32, width: int, height: int, map_rect: Rect | None = None, out: F32 | None = None) -> F32:
    """Resize a map bilinearly.

    Pixel centres lie at half-integers and borders are clamped, as in ``cv2.resize`` with INTER_LINEAR and in torch's
    ``interpolate(..., align_corners=False)``.

    Args:
        heatmap: (h, w) float32.
        width: pixels of the result's rows.
        height: rows of the result.
        map_rect: (u0, v0, u1, v1) in map cells, the part of the map that the result covers; the whole map when None.
        out: (height, width) C-contiguous float32 buffer; allocated when None.

    Returns:
        (height, width) float32, ``out`` if it was given.

    Raises:
        ValueError: a map without cells, or a wrong shape.
    """
    check_map(heatmap)
    result = buffer(out, (height, width))
    if result.size:
        _upsample(canonical(heatmap), *sampling(heatmap, width, height, map_rect), result)
    return result


@kernel
def _upsample(heatmap, first_u, step_u, first_v, step_v, out):  # type: ignore[no-untyped-def]
    columns = heatmap.shape[1]
    mixed = np.empty(columns, np.float64)
    for y in range(out.shape[0]):
        mix_rows(heatmap, first_v + y * step_v, mixed)
        for x in range(out.shape[1]):
            u = min(max(first_u + x * step_u, 0.0), columns - 1.0)
            left = np.intp(u)
            right = min(left + 1, columns - 1)
            out[y, x] = mixed[left] + (mixed[right] - mixed[left]) * (u - left)


@kernel
def mix_rows(heatmap, v, mixed):  # type: ignore[no-untyped-def]
    """Interpolate between two rows of a map, at height ``v`` in cells."""
    rows, columns = heatmap.shape
    v = min(max(v, 0.0), rows - 1.0)
    upper = np.intp(v)
    lower = min(upper + 1, rows - 1)
    for j in range(columns):
        above, below = np.float64(heatmap[upper, j]), np.float64(heatmap[lower, j])
        mixed[j] = above + (below - above) * (v - upper)


def sampling(heatmap: F32, width: int, height: int, map_rect: Rect | None) -> Rect:
    """Return (first_u, step_u, first_v, step_v): the centre of pixel x is at cell first_u + x * step_u."""
    u0, v0, u1, v1 = (0.0, 0.0, heatmap.shape[1], heatmap.shape[0]) if map_rect is None else map_rect
    if not (u0 < u1 and v0 < v1):
        raise ValueError(f"map_rect {map_rect} must be (u0, v0, u1, v1) with u0 < u1 and v0 < v1")
    step_u, step_v = (u1 - u0) / width, (v1 - v0) / height
    return u0 + 0.5 * step_u - 0.5, step_u, v0 + 0.5 * step_v - 0.5, step_v


def check_map(heatmap: F32) -> None:
    """Raise ValueError if a map has no cells or a shape other than (h, w)."""
    if heatmap.ndim != 2 or not heatmap.size:
        raise ValueError(f"a map must be (h, w) and have cells, not {heatmap.shape}")
