"""From the cells of a map to the pixels of a frame: upsample it, or colour and blend it into the frame on the way.

`overlay` goes over the frame once, in integers. Between two columns of the map the value is a straight line, so a
fixed-point sum walks along it and its upper bits choose an entry of a table, whose colours are multiplied by the
opacity already. Where the value changes slowly the colour is, for some pixels, a straight line too, and only its ends
are looked up (`BlendTable.straight`). A pixel becomes

    ((frame * 256 * keep) // 65536 + 256 * opacity * colour + 128) // 256,    keep = 65536 * (1 - opacity)

which is within one grey level of the exact blend where neighbouring entries of the colour map differ by less than 15
levels, as in all of OpenCV's.
"""

from typing import Final, NamedTuple

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from camrt.kernels.jit import kernel
from camrt.kernels.maps import F32, Method, buffer, canonical, normalize
from camrt.kernels.memory import SPILL, bytes_at, store_eight, store_four, store_one

U8 = NDArray[np.uint8]
Rect = tuple[float, float, float, float]

_ENTRIES: Final = 2048
"""Colours in a table: so many that it does not matter to which of two neighbours a value is rounded, and so few that
the table (16 KiB) stays in the first-level cache."""

_FRACTION_BITS: Final = 32

_MOST_OFF: Final = 0.94
"""Grey levels that a blend may be off before it is rounded: one, less what arithmetic in 16 bits takes."""


class BlendTable(NamedTuple):
    """A colour map with its opacity, packed for `overlay`; made by `blend_table`."""

    colors: NDArray[np.uint64]
    """(entries,), each four uint16: 256 * opacity * blue + 128, the same of green and red, and one that is not used."""
    keep: NDArray[np.uint64]
    """(entries,), each four equal uint16: 65536 * (1 - opacity); (1,) where the opacity is the same for all values."""
    straight: float
    """Entries over which a blend may be taken for a straight line and still is within one grey level."""


def blend_table(colors: U8, alpha: ArrayLike) -> BlendTable:
    """Pack a colour map and its opacity.

    Args:
        colors: (256, 3) uint8 BGR, the colours of values 0 to 1.
        alpha: share of the colour in the blend, 0 (frame only) to 1 (colour only); or (256,), one for each value.

    Raises:
        ValueError: other shapes, or an opacity outside [0, 1].
    """
    opacity = np.asarray(alpha, np.float64)
    if colors.shape != (256, 3) or opacity.shape not in ((), (256,)):
        raise ValueError(f"colors {colors.shape} and alpha {opacity.shape} must be (256, 3), and () or (256,)")
    if not ((opacity >= 0.0) & (opacity <= 1.0)).all():
        raise ValueError(f"alpha must be within [0, 1], not {opacity}")
    position = np.linspace(0.0, 255.0, _ENTRIES)
    given = np.arange(256.0)
    share = np.interp(position, given, np.broadcast_to(opacity, 256))
    packed = np.zeros((_ENTRIES, 4), np.uint16)
    for channel in range(3):
        packed[:, channel] = np.rint(256.0 * share * np.interp(position, given, colors[:, channel])) + 128
    kept = np.minimum(np.rint(65536.0 * (1.0 - share)), 65535).astype(np.uint16)
    keep = np.repeat(kept, 4).view(np.uint64)
    straight = _straight(packed[:, :3] / 256.0, kept.astype(np.float64) * (255.0 / 65536.0))
    return BlendTable(packed.view(np.uint64).ravel(), keep if opacity.ndim else keep[:1], straight)


def _straight(black: NDArray[np.float64], kept_white: NDArray[np.float64]) -> float:
    """Return `BlendTable.straight`.

    Args:
        black: (entries, 3), the blends of a black frame, in grey levels. Every blend lies between those of a black and
            of a white frame, and so does its distance from a straight line.
        kept_white: (entries,), what is left of a white frame.
    """
    blends = np.concatenate([black, black + kept_white[:, np.newaxis]], axis=1).T  # (6, entries)
    rounding = 0.5 * float(np.abs(np.diff(blends)).max())  # a value is rounded to the nearest entry
    straight = 0
    for length in (4, 8, 12, 16, 24, 32, 40, 48, 64, 80, 96, 128):
        first, last = blends[:, :-length], blends[:, length:]
        bent = max(
            float(np.abs(blends[:, k : k - length] - (first + (last - first) * (k / length))).max())
            for k in range(1, length)
        )
        if rounding + bent > _MOST_OFF:
            break
        straight = length
    return float(straight)


def overlay(
    frame: U8,
    cam: F32,
    table: BlendTable,
    *,
    method: Method = "minmax",
    value_range: tuple[float, float] | None = None,
    rect: tuple[int, int, int, int] | None = None,
    map_rect: Rect | None = None,
    out: U8 | None = None,
    rows: tuple[int, int] | None = None,
) -> U8:
    """Draw a map over a frame: normalise, upsample, colour and blend.

    Args:
        frame: (H, W, 3) uint8 in the channel order of the table, any strides.
        cam: (h, w) float32; a raw map, or a heatmap with method ``range`` and value_range (0, 1).
        table: from `blend_table`.
        method: see `normalize`.
        value_range: see `normalize`.
        rect: (x0, y0, x1, y1), the part of the frame that the map covers; the whole frame when None. Pixels outside
            are copied unchanged.
        map_rect: (u0, v0, u1, v1) in map cells, the part of the map that ``rect`` shows; the whole map when None.
        out: (H, W, 3) uint8, any strides; may be ``frame`` itself or overlap it; allocated when None.
        rows: (y0, y1), write only these rows, so that several threads can share one frame.

    Returns:
        (H, W, 3) uint8, ``out`` if it was given; within one grey level of `reference.overlay_reference`.

    Raises:
        ValueError: a shape or a dtype is wrong, or ``rect`` or ``rows`` do not lie inside the frame.
    """
    _check_map(cam)
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        raise ValueError(f"a frame must be uint8 (H, W, 3), not {frame.dtype} {frame.shape}")
    height, width = frame.shape[:2]
    x0, y0, x1, y1 = (0, 0, width, height) if rect is None else rect
    first, stop = (0, height) if rows is None else rows
    if not (0 <= x0 <= x1 <= width and 0 <= y0 <= y1 <= height):
        raise ValueError(f"rect {rect} must lie inside the frame of {width}x{height} pixels")
    if not 0 <= first <= stop <= height:
        raise ValueError(f"rows {rows} must lie inside the frame of {height} rows")
    if out is None:
        out = np.empty(frame.shape, np.uint8)
    elif out.shape != frame.shape or out.dtype != np.uint8 or not out.flags.writeable:
        raise ValueError(f"out must be writeable uint8 {frame.shape}, not {out.dtype} {out.shape}")
    top, bottom = min(max(first, y0), stop), max(min(stop, y1), first)
    if top >= bottom or x0 == x1:
        out[first:stop] = frame[first:stop]
        return out
    source = _separate(frame, out)
    if source is not out:
        out[first:top] = source[first:top]
        out[bottom:stop] = source[bottom:stop]
        out[top:bottom, :x0] = source[top:bottom, :x0]
        out[top:bottom, x1:] = source[top:bottom, x1:]
    first_u, step_u, first_v, step_v = _sampling(cam, x1 - x0, y1 - y0, map_rect)
    _paint(
        source[top:bottom, x0:x1],
        out[top:bottom, x0:x1],
        normalize(cam, method, value_range),
        (first_u, step_u, first_v + step_v * (top - y0), step_v),
        table,
    )
    return out


def _separate(frame: U8, out: U8) -> U8:
    """Return ``out`` where it is the frame itself; a copy of the frame where the two overlap in any other way."""
    same_place = frame.__array_interface__["data"] == out.__array_interface__["data"]
    if same_place and frame.strides == out.strides:
        return out
    return frame.copy() if np.may_share_memory(frame, out) else frame


def _paint(source: U8, target: U8, heatmap: F32, sampling: Rect, table: BlendTable) -> None:
    """Blend into ``target``, which is of the shape of ``source``; rows whose bytes are scattered go by a copy."""
    packed = target if target.strides[1:] == (3, 1) else np.empty(target.shape, np.uint8)
    if source.strides[1:] != (3, 1):
        source = np.ascontiguousarray(source)
    _blend(
        *(source.ctypes.data, source.strides[0], packed.ctypes.data, packed.strides[0], *target.shape[:2]),
        *(heatmap, *sampling, *table),
    )
    if packed is not target:
        target[...] = packed


@kernel
def _blend(  # type: ignore[no-untyped-def]
    source_at, source_stride, target_at, target_stride, height, width,
    heatmap, first_u, step_u, first_v, step_v, colors, keep, straight,
):  # fmt: skip
    size = 3 * width
    mixed = np.empty(heatmap.shape[1], np.float64)
    color = np.empty(size + SPILL, np.uint16)
    kept = np.empty(size + SPILL, np.uint16)
    constant = np.uint16(keep[0] & np.uint64(0xFFFF))
    for y in range(height):
        _mix_rows(heatmap, first_v + y * step_v, mixed)
        _look_up(mixed, first_u, step_u, width, colors, straight, color)
        source = numba.carray(bytes_at(source_at + y * source_stride), (size,))
        target = numba.carray(bytes_at(target_at + y * target_stride), (size,))
        if len(keep) == 1:
            for i in range(size):
                target[i] = _mix(source[i], constant, color[i])
        else:
            _look_up(mixed, first_u, step_u, width, keep, straight, kept)
            for i in range(size):
                target[i] = _mix(source[i], kept[i], color[i])


@kernel
def _mix(pixel, keep, color):  # type: ignore[no-untyped-def]
    """Return (pixel * 256 * keep // 65536 + color) // 256, in 16 bits throughout, so that it vectorises to the full."""
    pixel = np.uint16(pixel)
    upper = np.uint16(pixel * np.uint16(keep >> np.uint16(8)))
    lower = np.uint16(np.uint16(pixel * np.uint16(keep & np.uint16(255))) >> np.uint16(8))
    return np.uint8(np.uint16(np.uint16(upper + lower) + color) >> np.uint16(8))


@kernel
def _look_up(mixed, first_u, step_u, width, table, straight, row):  # type: ignore[no-untyped-def]
    """Fill a row of pixels with the table's entries for a row of map cells, which are in [0, 1]."""
    columns = len(mixed)
    entries = np.float64(len(table) - 1)
    scale = entries * np.float64(1 << _FRACTION_BITS)
    half = np.float64(1 << (_FRACTION_BITS - 1))
    shift = np.uint64(_FRACTION_BITS)
    x = 0
    for j in range(-1, columns):  # from cell j to cell j + 1; before the first and after the last the value stays
        stop = width
        if j < columns - 1:
            stop = min(width, max(x, np.intp(np.ceil((j + 1 - first_u) / step_u))))
        value, following = mixed[max(j, 0)], mixed[min(j + 1, columns - 1)]
        slope = following - value
        walk = np.uint64(np.int64((value + slope * (first_u + x * step_u - j)) * scale + half))
        step = np.uint64(np.int64(slope * step_u * scale))  # wraps where the slope falls, and so does the sum
        change = abs(slope * step_u) * entries
        together = 8 if 8 * change <= straight else 4 if 4 * change <= straight else 1
        if together > 1 and stop > x:
            lines = (stop - 1 - x) // together  # the last one ends before the next cell begins
            stride = step * np.uint64(together)
            if together == 8:
                for i in range(lines):  # unsigned: no check for negative
                    store_eight(row, 3 * x + 24 * i, table[walk >> shift], table[(walk + stride) >> shift])
                    walk += stride
            else:
                for i in range(lines):
                    store_four(row, 3 * x + 12 * i, table[walk >> shift], table[(walk + stride) >> shift])
                    walk += stride
            x += together * lines
        for i in range(x, stop):
            store_one(row, 3 * i, table[walk >> shift])
            walk += step
        x = stop


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
    _check_map(heatmap)
    result = buffer(out, (height, width))
    if result.size:
        _upsample(canonical(heatmap), *_sampling(heatmap, width, height, map_rect), result)
    return result


@kernel
def _upsample(heatmap, first_u, step_u, first_v, step_v, out):  # type: ignore[no-untyped-def]
    columns = heatmap.shape[1]
    mixed = np.empty(columns, np.float64)
    for y in range(out.shape[0]):
        _mix_rows(heatmap, first_v + y * step_v, mixed)
        for x in range(out.shape[1]):
            u = min(max(first_u + x * step_u, 0.0), columns - 1.0)
            left = np.intp(u)
            right = min(left + 1, columns - 1)
            out[y, x] = mixed[left] + (mixed[right] - mixed[left]) * (u - left)


@kernel
def _mix_rows(heatmap, v, mixed):  # type: ignore[no-untyped-def]
    """Interpolate between two rows of a map, at height ``v`` in cells."""
    rows, columns = heatmap.shape
    v = min(max(v, 0.0), rows - 1.0)
    upper = np.intp(v)
    lower = min(upper + 1, rows - 1)
    for j in range(columns):
        above, below = np.float64(heatmap[upper, j]), np.float64(heatmap[lower, j])
        mixed[j] = above + (below - above) * (v - upper)


def _sampling(heatmap: F32, width: int, height: int, map_rect: Rect | None) -> Rect:
    """Return (first_u, step_u, first_v, step_v): the centre of pixel x lies at cell first_u + x * step_u."""
    u0, v0, u1, v1 = (0.0, 0.0, heatmap.shape[1], heatmap.shape[0]) if map_rect is None else map_rect
    if not (u0 < u1 and v0 < v1):
        raise ValueError(f"map_rect {map_rect} must be (u0, v0, u1, v1) with u0 < u1 and v0 < v1")
    step_u, step_v = (u1 - u0) / width, (v1 - v0) / height
    return u0 + 0.5 * step_u - 0.5, step_u, v0 + 0.5 * step_v - 0.5, step_v


def _check_map(heatmap: F32) -> None:
    if heatmap.ndim != 2 or not heatmap.size:
        raise ValueError(f"a map must be (h, w) and have cells, not {heatmap.shape}")
