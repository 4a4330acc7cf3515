"""Colour a map and blend it into a frame, in one pass over the frame and in integers.

Between two columns of the map the value is a straight line. A fixed-point sum follows it, and the upper bits of the sum
select an entry of a table. The colours in the table are already multiplied by the opacity. A pixel becomes

    ((frame * 256 * keep) // 65536 + 256 * opacity * colour + 128) // 256,    keep = 65536 * (1 - opacity)

Down the rows the colour is close to a straight line too, for the number of rows that `BlendTable.straight` allows. Only
the rows at the ends of the line are looked up. The result is within one grey level of the exact blend if neighbouring
entries of the colour map differ by less than 15 levels, as in all colour maps of OpenCV.
"""

from typing import Final

import numba
import numpy as np
from numpy.typing import NDArray

from camrt.kernels.arithmetic import high_product
from camrt.kernels.blend_table import BlendTable
from camrt.kernels.jit import kernel
from camrt.kernels.maps import F32, Method, normalize
from camrt.kernels.memory import SPILL, address, aligned_rows, bytes_at, store_pixel
from camrt.kernels.upsample import Rect, check_map, mix_rows, sampling

U8 = NDArray[np.uint8]

_FRACTION_BITS: Final = 32

_MOST_LINES: Final = 16
"""Most rows for each row that is looked up, a power of two. More rows bring no further gain."""

_CACHE_BYTES: Final = 40_000
"""Part of the first-level cache for the buffers that each row reads again."""


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
        rows: (y0, y1): write only these rows, so that several threads can share one frame.

    Returns:
        (H, W, 3) uint8, ``out`` if it was given; within one grey level of `reference.overlay_reference`.

    Raises:
        ValueError: a shape or a dtype is wrong, or ``rect`` or ``rows`` do not lie inside the frame.
    """
    check_map(cam)
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
    if source is not out and (x0, y0, x1, y1) != (0, 0, width, height):
        out[first:top] = source[first:top]
        out[bottom:stop] = source[bottom:stop]
        out[top:bottom, :x0] = source[top:bottom, :x0]
        out[top:bottom, x1:] = source[top:bottom, x1:]
    first_u, step_u, first_v, step_v = sampling(cam, x1 - x0, y1 - y0, map_rect)
    _paint(
        source[top:bottom, x0:x1],
        out[top:bottom, x0:x1],
        normalize(cam, method, value_range),
        (first_u, step_u, first_v + step_v * (top - y0), step_v),
        table,
    )
    return out


def _separate(frame: U8, out: U8) -> U8:
    """Return the source to read: ``frame``, or ``out`` if it is the same array, or a copy if the two overlap."""
    if not np.may_share_memory(frame, out):
        return frame
    same_place = frame.__array_interface__["data"] == out.__array_interface__["data"]
    return out if same_place and frame.strides == out.strides else frame.copy()


def _paint(source: U8, target: U8, heatmap: F32, place: Rect, table: BlendTable) -> None:
    """Blend into ``target``, an array of the shape of ``source``. Rows that are not contiguous pass through a copy."""
    packed = target if target.strides[1:] == (3, 1) else np.empty(target.shape, np.uint8)
    if source.strides[1:] != (3, 1):
        source = np.ascontiguousarray(source)
    _blend(
        *(address(source), source.strides[0], address(packed), packed.strides[0], *target.shape[:2]),
        *(heatmap, *place, *table),
    )
    if packed is not target:
        target[...] = packed


@kernel
def _blend(  # type: ignore[no-untyped-def]
    source_at, source_stride, target_at, target_stride, height, width,
    heatmap, first_u, step_u, first_v, step_v, colors, keep, straight,
):  # fmt: skip
    size = 3 * width
    by_value = len(keep) > 1
    mixed = np.empty(heatmap.shape[1], np.float64)
    color, next_color, color_step, kept, next_kept, kept_step = aligned_rows(size + SPILL)
    y, piece_end, most = 0, 0, 1
    ready = False  # the colours of row y are in next_color
    while y < height:
        if y == piece_end:
            rows, change = _piece(heatmap, first_v + y * step_v, step_v)
            piece_end = min(height, y + rows)
            most = _most_lines(change * (len(colors) - 1), straight)
        lines = most
        while lines > 1 and y + lines >= piece_end:  # the other end of the line must be in this piece
            lines >>= 1
        if ready:
            color, next_color = next_color, color
            kept, next_kept = next_kept, kept
        else:
            mix_rows(heatmap, first_v + y * step_v, mixed)
            _look_up(mixed, first_u, step_u, width, colors, color)
            if by_value:
                _look_up(mixed, first_u, step_u, width, keep, kept)
        ready = lines > 1
        if ready:
            mix_rows(heatmap, first_v + (y + lines) * step_v, mixed)
            _look_up(mixed, first_u, step_u, width, colors, next_color)
            _slope(color, next_color, lines, color_step)
            if by_value:
                _look_up(mixed, first_u, step_u, width, keep, next_kept)
                _slope(kept, next_kept, lines, kept_step)
        _draw(
            *(source_at + y * source_stride, source_stride, target_at + y * target_stride, target_stride, size, lines),
            *(color, color_step, kept, kept_step, keep),
        )
        y += lines


@kernel
def _piece(heatmap, v, step_v):  # type: ignore[no-untyped-def]
    """Measure the piece of pixel rows from height ``v`` on that lie between the same two rows of the map.

    Returns: the number of rows, and the largest change of a value from one row to the next.
    """
    cells = heatmap.shape[0]
    if v >= cells - 1:
        return np.intp(1 << 30), 0.0
    upper = np.intp(np.floor(max(v, -1.0)))
    change = 0.0
    if upper >= 0:
        for j in range(heatmap.shape[1]):
            change = max(change, abs(np.float64(heatmap[upper + 1, j]) - np.float64(heatmap[upper, j])))
    return 1 + np.intp((upper + 1 - v) / step_v), change * step_v


@kernel
def _most_lines(change, straight):  # type: ignore[no-untyped-def]
    """Return the most rows of a straight line, a power of two, if entries change by ``change`` a row."""
    lines = _MOST_LINES
    while lines > 1 and lines * change > straight:
        lines >>= 1
    return lines


@kernel
def _slope(row, end, lines, step):  # type: ignore[no-untyped-def]
    """Fill ``step`` with the increment of ``row`` from line to line that ends at ``end``.

    Each number of lines has a loop of its own: a shift by a variable makes it three times slower. The increment is
    rounded to the nearest integer.
    """
    if lines == 2:
        for i in range(len(row)):
            step[i] = np.uint16(np.int16(np.uint16(end[i] - row[i]) + np.uint16(1)) >> np.int16(1))
    elif lines == 4:
        for i in range(len(row)):
            step[i] = np.uint16(np.int16(np.uint16(end[i] - row[i]) + np.uint16(2)) >> np.int16(2))
    elif lines == 8:
        for i in range(len(row)):
            step[i] = np.uint16(np.int16(np.uint16(end[i] - row[i]) + np.uint16(4)) >> np.int16(3))
    else:
        for i in range(len(row)):
            step[i] = np.uint16(np.int16(np.uint16(end[i] - row[i]) + np.uint16(8)) >> np.int16(4))


@kernel
def _draw(  # type: ignore[no-untyped-def]
    source_at, source_stride, target_at, target_stride, size, lines, color, color_step, kept, kept_step, keep
):
    """Blend ``lines`` rows. From row to row the colours and the kept share of the frame grow by their steps.

    Wide rows are drawn in parts, so that the buffers stay in the cache.
    """
    by_value = len(keep) > 1
    constant = np.uint16(keep[0] & np.uint64(0xFFFF))
    parts = 1 if lines == 1 else 1 + size * (10 if by_value else 6) // _CACHE_BYTES
    width = 1 + (size - 1) // parts
    for left in range(0, size, width):
        count = min(width, size - left)
        part, step = color[left : left + count], color_step[left : left + count]
        kept_part, kept_part_step = kept[left : left + count], kept_step[left : left + count]
        for y in range(lines):
            source = numba.carray(bytes_at(source_at + y * source_stride + left), (count,))
            target = numba.carray(bytes_at(target_at + y * target_stride + left), (count,))
            steps = np.uint16(y)
            if by_value:
                for i in range(count):
                    share = np.uint16(kept_part[i] + np.uint16(kept_part_step[i] * steps))
                    target[i] = _mix(source[i], share, np.uint16(part[i] + np.uint16(step[i] * steps)))
            elif y > 0:
                for i in range(count):
                    target[i] = _mix(source[i], constant, np.uint16(part[i] + np.uint16(step[i] * steps)))
            else:
                for i in range(count):
                    target[i] = _mix(source[i], constant, part[i])


@kernel
def _mix(pixel, keep, color):  # type: ignore[no-untyped-def]
    """Return (pixel * 256 * keep // 65536 + color) // 256; all steps are in 16 bits, which vectorises best."""
    kept = high_product(np.uint16(np.uint16(pixel) << np.uint16(8)), keep)
    return np.uint8(np.uint16(kept + color) >> np.uint16(8))


@kernel
def _look_up(mixed, first_u, step_u, width, table, row):  # type: ignore[no-untyped-def]
    """Fill a row of pixels with the entries of the table for a row of map cells in [0, 1]."""
    columns = len(mixed)
    scale = np.float64(len(table) - 1) * np.float64(1 << _FRACTION_BITS)
    half = np.float64(1 << (_FRACTION_BITS - 1))
    shift = np.uint64(_FRACTION_BITS)
    x = 0
    for j in range(-1, columns):  # from cell j to cell j + 1; the value is constant before the first and after the last
        stop = width
        if j < columns - 1:
            stop = min(width, max(x, np.intp(np.ceil((j + 1 - first_u) / step_u))))
        value, following = mixed[max(j, 0)], mixed[min(j + 1, columns - 1)]
        slope = following - value
        walk = np.uint64(np.int64((value + slope * (first_u + x * step_u - j)) * scale + half))
        step = np.uint64(np.int64(slope * step_u * scale))  # a falling slope wraps around, and so does the sum
        for i in range(x, stop):  # unsigned: no check for negative
            store_pixel(row, 3 * i, table[walk >> shift])
            walk += step
        x = stop
