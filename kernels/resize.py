"""Resize an image bilinearly with antialiasing, in one pass over its rows.

The filter is the triangle of Pillow's BILINEAR and of torchvision's ``antialias=True``: its half width is the distance
of two outputs, or one pixel where the image is enlarged. The weights of an output add up to one, also at the borders.

Where an axis is shrunk, the centres of neighbouring outputs divide its pixels into segments. From pixel to pixel of a
segment, the weight for the output at its end rises by the same step, and the weight for the output at its start falls
by it. So two sums give the share of a segment in both outputs: the sum of the pixels, and the sum of the running sums

    sum of (last - step * (n - 1 - i)) * pixel[i] = last * total - step * running,    i = 0 .. n - 1

where ``last`` is the weight of the last pixel. Both sums are exact, and each byte of the image costs two additions of
16 bits. Rows are shrunk first: their sums are vectors along the memory, and few rows are left for the columns.
"""

from typing import Final

import numba
import numpy as np
from numpy.typing import NDArray

from camrt.kernels.jit import kernel
from camrt.kernels.lanes import add, bits_and, load_pixel, scale, splat, store_pixel_bytes
from camrt.kernels.memory import bytes_at, upper_half
from camrt.kernels.upsample import Rect

U8 = NDArray[np.uint8]

_MOST_ROWS: Final = 23
"""Rows whose sums fit in 16 bits: 255 * 23 * 22 / 2 < 65536."""

_MOST_COLUMNS: Final = 512
"""Pixels of a row between the passes whose sums fit in 31 bits: 64 * 255 * 512 * 511 / 2 < 2**31."""

_LEVEL: Final = 64.0
"""A grey level in the row between the passes, uint16. Its error is below a tenth of a level."""

_ROUNDING: Final = np.uint16(1)
"""Mean error of four products whose lower halves are cut off, one of them subtracted."""

_BLOCK: Final = 2048
"""Bytes of a row that are summed at a time, so that the sums stay in the first-level cache."""

_RUNNING: Final = _BLOCK + 160
"""Place of the running sums behind the totals, not a multiple of 4 KiB away; see `memory.aligned_rows`."""


def resize(image: U8, width: int, height: int, window: Rect | None = None, out: U8 | None = None) -> U8:
    """Resize an image bilinearly with antialiasing, like ``PIL.Image.resize(..., BILINEAR, box=window)``.

    Args:
        image: (H, W, 3) uint8, any strides; at least one pixel.
        width: pixels of the result's rows.
        height: rows of the result.
        window: (x0, y0, x1, y1) in pixels of the image, fractions allowed: the part that the result shows; the whole
            image when None. Pixels outside the window count as far as the filter reaches, as in a crop of the whole
            image resized.
        out: (height, width, 3) uint8, any strides, apart from ``image``; allocated when None.

    Returns:
        (height, width, 3) uint8, ``out`` if it was given; within one grey level of Pillow and of
        `reference.resize_reference`.

    Raises:
        ValueError: a shape or a dtype is wrong, or ``window`` is empty or not inside the image.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ValueError(f"an image must be uint8 (H, W, 3) with pixels, not {image.dtype} {image.shape}")
    rows, columns = image.shape[:2]
    x0, y0, x1, y1 = (0.0, 0.0, float(columns), float(rows)) if window is None else map(float, window)
    if not (0 <= x0 < x1 <= columns and 0 <= y0 < y1 <= rows):
        raise ValueError(f"window {window} must be (x0, y0, x1, y1) inside the image of {columns}x{rows} pixels")
    if out is None:
        out = np.empty((height, width, 3), np.uint8)
    elif out.shape != (height, width, 3) or out.dtype != np.uint8 or not out.flags.writeable:
        raise ValueError(f"out must be writeable uint8 {(height, width, 3)}, not {out.dtype} {out.shape}")
    if not out.size:
        return out
    if image.strides[1:] != (3, 1):
        image = np.ascontiguousarray(image)
    packed = out if out.strides[1:] == (3, 1) else np.empty(out.shape, np.uint8)
    _resize(
        *(image.ctypes.data, image.strides[0], rows, columns, packed.ctypes.data, packed.strides[0], height, width),
        *(x0, (x1 - x0) / width, y0, (y1 - y0) / height),
    )
    if packed is not out:
        out[...] = packed
    return out


@kernel
def _resize(  # type: ignore[no-untyped-def]
    image_at, image_stride, rows, columns, out_at, out_stride, height, width, x0, step_x, y0, step_y
):
    row = np.zeros(3 * columns + 4, np.uint16)  # the last pixel is loaded as four elements, and so is the one after it
    plan = _plan_columns(x0, step_x, width if step_x >= 1.0 else 0, columns)
    if step_y < 1.0:
        for y in range(height):
            _mix_rows(image_at, image_stride, rows, 3 * columns, y0 + (y + 0.5) * step_y - 0.5, row)
            _resize_row(row, columns, plan, x0, step_x, out_at + y * out_stride, width)
        return
    first, last, shares = _segments(y0, step_y, height, rows)
    most = np.intp(0)
    for j in range(height + 1):
        most = max(most, first[j + 1] - first[j])
    total_bits, running_bits = _spare_bits(255 * most), _spare_bits(255 * most * (most - 1) // 2)
    total_unit, running_unit = _LEVEL * 2.0 ** (16 - total_bits), _LEVEL * 2.0 ** (16 - running_bits) / step_y
    sums, carry = np.empty(_RUNNING + _BLOCK, np.uint16), np.zeros(3 * columns, np.uint16)
    wide = np.empty(_RUNNING + _BLOCK if most > _MOST_ROWS else 0, np.uint64)
    for j in range(height + 1):
        above = shares[j - 1] if j > 0 else 0.0
        below = shares[j] if j < height else 0.0
        factors = (
            np.uint16(total_unit * above * (1.0 - last[j]) + 0.5),
            np.uint16(running_unit * above + 0.5),
            np.uint16(total_unit * below * last[j] + 0.5),
            np.uint16(running_unit * below + 0.5),
        )
        count = first[j + 1] - first[j]
        for left in range(0, 3 * columns, _BLOCK):
            right = min(left + _BLOCK, 3 * columns)
            at = image_at + first[j] * image_stride + left
            if most <= _MOST_ROWS:
                _sum_rows(at, image_stride, count, right - left, sums)
                units = np.uint16(1 << total_bits), np.uint16(1 << running_bits)
            else:
                _sum_many_rows(at, image_stride, count, right - left, wide, sums, total_bits, running_bits)
                units = np.uint16(1), np.uint16(1)
            _add_shares(sums, units, factors, row[left:right], carry[left:right])
        if j > 0:
            _resize_row(row, columns, plan, x0, step_x, out_at + (j - 1) * out_stride, width)


@kernel
def _segments(start, step, outputs, pixels):  # type: ignore[no-untyped-def]
    """Divide the pixels of an axis that is shrunk at the centres of the outputs.

    Returns: ``first``, (outputs + 2,): segment j, the one before output j, has the pixels ``first[j]`` to
    ``first[j + 1]``; ``last``, (outputs + 1,): weight of its last pixel for output j; ``shares``, (outputs,): 1 / sum
    of the weights of an output.
    """
    first = np.empty(outputs + 2, np.intp)
    for j in range(outputs + 2):
        first[j] = min(max(np.intp(np.ceil(start + (j - 0.5) * step - 0.5)), 0), pixels)
    last, shares = np.empty(outputs + 1, np.float64), np.zeros(outputs, np.float64)
    for j in range(outputs + 1):
        count = first[j + 1] - first[j]
        last[j] = (first[j + 1] - 0.5 - start) / step - (j - 0.5)
        weight = count * (last[j] - 0.5 * (count - 1) / step)
        if j > 0:
            shares[j - 1] = 1.0 / (shares[j - 1] + count - weight)
        if j < outputs:
            shares[j] = weight
    return first, last, shares


@kernel
def _spare_bits(most):  # type: ignore[no-untyped-def]
    """Return by how many bits a number up to ``most`` can grow within 16 bits; it is negative if it must shrink."""
    bits = 16
    while most > 0:
        most >>= 1
        bits -= 1
    return bits


@kernel
def _sum_rows(at, stride, rows, size, sums):  # type: ignore[no-untyped-def]
    """Fill ``sums`` with the totals of ``size`` columns of bytes, and from `_RUNNING` on with their running sums."""
    single = rows & 3
    if single:
        a = numba.carray(bytes_at(at), (size,))
        for i in range(size):
            sums[i] = a[i]
            sums[i + _RUNNING] = 0
    else:
        for i in range(size):
            sums[i] = 0
            sums[i + _RUNNING] = 0
    for y in range(1, single):
        a = numba.carray(bytes_at(at + y * stride), (size,))
        for i in range(size):
            sums[i + _RUNNING] = np.uint16(sums[i + _RUNNING] + sums[i])
            sums[i] = np.uint16(sums[i] + np.uint16(a[i]))
    for y in range(single, rows, 4):  # four rows at a time: the sums stay in registers
        a = numba.carray(bytes_at(at + y * stride), (size,))
        b = numba.carray(bytes_at(at + (y + 1) * stride), (size,))
        c = numba.carray(bytes_at(at + (y + 2) * stride), (size,))
        d = numba.carray(bytes_at(at + (y + 3) * stride), (size,))
        for i in range(size):
            total = sums[i]
            running = np.uint16(sums[i + _RUNNING] + total)
            total = np.uint16(total + np.uint16(a[i]))
            running = np.uint16(running + total)
            total = np.uint16(total + np.uint16(b[i]))
            running = np.uint16(running + total)
            total = np.uint16(total + np.uint16(c[i]))
            sums[i + _RUNNING] = np.uint16(running + total)
            sums[i] = np.uint16(total + np.uint16(d[i]))


@kernel
def _sum_many_rows(  # type: ignore[no-untyped-def]
    at, stride, rows, size, wide, sums, total_bits, running_bits
):
    """Sum more rows than fit in 16 bits; ``sums`` gets the sums times a power of two that makes them fit."""
    wide[:] = 0
    for start in range(0, rows, _MOST_ROWS):
        count = min(_MOST_ROWS, rows - start)
        _sum_rows(at + start * stride, stride, count, size, sums)
        later = np.uint64(rows - start - count)
        for i in range(size):
            total = np.uint64(sums[i])
            wide[i] += total
            wide[i + _RUNNING] += np.uint64(sums[i + _RUNNING]) + total * later
    for i in range(size):
        sums[i] = np.uint16(np.float64(wide[i]) * 2.0**total_bits)
        sums[i + _RUNNING] = np.uint16(np.float64(wide[i + _RUNNING]) * 2.0**running_bits)


@kernel
def _add_shares(sums, units, factors, row, carry):  # type: ignore[no-untyped-def]
    """Add the share of a segment to the output above it, which is then complete, and begin the output below it."""
    total_unit, running_unit = units
    above_total, above_running, below_total, below_running = factors
    for i in range(len(row)):
        total = np.uint16(sums[i] * total_unit)
        running = np.uint16(sums[i + _RUNNING] * running_unit)
        row[i] = np.uint16(carry[i] + np.uint16(upper_half(total, above_total) + upper_half(running, above_running)))
        below = np.uint16(upper_half(total, below_total) - upper_half(running, below_running))
        carry[i] = np.uint16(below + _ROUNDING)


@kernel
def _mix_rows(at, stride, rows, size, v, row):  # type: ignore[no-untyped-def]
    """Interpolate between two rows of the image, at height ``v`` in pixels."""
    v = min(max(v, 0.0), rows - 1.0)
    upper = np.intp(v)
    share = np.float32(_LEVEL * (v - upper))
    rest = np.float32(_LEVEL) - share
    a = numba.carray(bytes_at(at + upper * stride), (size,))
    b = numba.carray(bytes_at(at + min(upper + 1, rows - 1) * stride), (size,))
    for i in range(size):
        row[i] = np.uint16(np.int32(np.float32(a[i]) * rest + np.float32(b[i]) * share + np.float32(0.5)))


@kernel
def _plan_columns(start, step, outputs, pixels):  # type: ignore[no-untyped-def]
    """Return what all rows share, see `_shrink_row`: the segments, their factors, and a buffer for an output row."""
    first, last, shares = _segments(start, step, outputs, pixels)
    counts, masks = np.empty(outputs + 1, np.intp), np.zeros(outputs + 1, np.int32)
    factors = np.zeros((outputs + 1, 4), np.float32)
    for j in range(outputs + 1):
        before = shares[j - 1] / _LEVEL if j > 0 else 0.0
        after = shares[j] / _LEVEL if j < outputs else 0.0
        factors[j, 0], factors[j, 1] = before * (1.0 - last[j]), before / step
        factors[j, 2], factors[j, 3] = after * last[j], -after / step
        counts[j] = first[j + 1] - first[j]
        if counts[j] == np.intp(step) + 1:
            counts[j], masks[j] = counts[j] - 1, -1
    return first, counts, masks, factors, np.empty(3 * outputs + 4, np.uint8)


@kernel
def _resize_row(row, columns, plan, start, step, out_at, width):  # type: ignore[no-untyped-def]
    """Resize a row of ``columns`` pixels, uint16, to ``width`` pixels of bytes."""
    out = numba.carray(bytes_at(out_at), (3 * width,))
    if step < 1.0:
        _enlarge_row(row, columns, start, step, out)
        return
    first, counts, masks, factors, levels = plan
    if step < _MOST_COLUMNS - 1:
        _shrink_row(row, first, counts, masks, factors, levels)
    else:
        _shrink_wide_row(row, first, factors, levels)
    for i in range(3 * width):
        out[i] = levels[i + 3]


@kernel
def _enlarge_row(row, columns, start, step, out):  # type: ignore[no-untyped-def]
    for x in range(len(out) // 3):
        u = min(max(start + (x + 0.5) * step - 0.5, 0.0), columns - 1.0)
        left = np.intp(u)
        right = min(left + 1, columns - 1)
        share = np.float32((u - left) / _LEVEL)
        rest = np.float32(1.0 / _LEVEL) - share
        for c in range(3):
            level = np.float32(row[3 * left + c]) * rest + np.float32(row[3 * right + c]) * share
            out[3 * x + c] = np.uint8(np.int32(level + np.float32(0.5)))


@kernel
def _shrink_row(row, first, counts, masks, factors, levels):  # type: ignore[no-untyped-def]
    """Shrink a row; output j is ``levels[3 * j + 3 : 3 * j + 6]``.

    Segments differ by one pixel. The last pixel of the longer ones is masked instead of looped over, because the
    processor cannot predict which segments are longer.
    """
    half = splat(np.float32(0.5))
    carry = half
    for j in range(len(counts)):
        total = running = splat(np.int32(0))
        at = 3 * first[j]
        for _ in range(counts[j]):
            running = add(running, total)
            total = add(total, load_pixel(row, at))
            at += 3
        mask = splat(masks[j])
        running = add(running, bits_and(total, mask))
        total = add(total, bits_and(load_pixel(row, at), mask))
        level = add(carry, add(scale(total, factors[j, 0]), scale(running, factors[j, 1])))
        store_pixel_bytes(levels, 3 * j, level)
        carry = add(half, add(scale(total, factors[j, 2]), scale(running, factors[j, 3])))


@kernel
def _shrink_wide_row(row, first, factors, levels):  # type: ignore[no-untyped-def]
    """Shrink a row whose sums do not fit in 31 bits, like `_shrink_row`."""
    for c in range(3):
        carry = np.float32(0.5)
        for j in range(len(factors)):
            total = running = np.int64(0)
            for x in range(first[j], first[j + 1]):
                running += total
                total += np.int64(row[3 * x + c])
            level = carry + np.float32(total) * factors[j, 0] + np.float32(running) * factors[j, 1]
            levels[3 * j + c] = np.uint8(np.int32(level))
            carry = np.float32(0.5) + np.float32(total) * factors[j, 2] + np.float32(running) * factors[j, 3]
