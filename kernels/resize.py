"""Resize an image bilinearly with antialiasing, in one pass over its rows.

The filter is the triangle of Pillow's BILINEAR and of torchvision's ``antialias=True``: its half width is the distance
of two outputs, or one pixel where the image is enlarged. The weights of an output add up to one, also at the borders.

Where an axis is shrunk, the centres of neighbouring outputs divide its pixels into segments. From pixel to pixel of a
segment, the weight for the output at its end rises by the same step, and the weight for the output at its start falls
by it. So two sums give the share of a segment in both outputs: ``total`` of its pixels, and ``running``, the sum of the
totals before each pixel:

    sum of (last - slope * (n - 1 - i)) * pixel[i] = last * total - slope * running,    i = 0 .. n - 1

where ``last`` is the weight of the last pixel. Both sums are exact, and each byte of the image costs two additions of
16 bits. Rows are shrunk first: their sums are vectors along the memory, and few rows are left for the columns.
"""

from typing import Final

import numba
import numpy as np
from numpy.typing import NDArray

from camrt.kernels.jit import kernel
from camrt.kernels.lanes import COLUMNS, add, bits_and, load_pixels, scale, splat, store_pixels
from camrt.kernels.memory import address, bytes_at
from camrt.kernels.resize_rows import (
    BLOCK,
    LEVEL,
    MOST_ROWS,
    RUNNING,
    add_shares,
    mix_rows,
    segments,
    shrink_rows,
    spare_bits,
    sum_rows,
)
from camrt.kernels.upsample import Rect

U8 = NDArray[np.uint8]

_MOST_COLUMNS: Final = 512
"""Pixels of a row between the passes whose sums fit in 31 bits: 64 * 255 * 512 * 511 / 2 < 2**31."""


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
    reach = max(1.0, (x1 - x0) / width) + 1.0
    left, right = max(0, int(x0 - reach)), min(columns, int(x1 + reach) + 1)
    image, x0, x1 = image[:, left:right], x0 - left, x1 - left
    if image.strides[1:] != (3, 1):
        image = np.ascontiguousarray(image)
    packed = out if out.strides[1:] == (3, 1) else np.empty(out.shape, np.uint8)
    _resize(
        *(
            address(image),
            image.strides[0],
            rows,
            right - left,
            address(packed),
            packed.strides[0],
            height,
            width,
        ),
        *(x0, (x1 - x0) / width, y0, (y1 - y0) / height),
    )
    if packed is not out:
        out[...] = packed
    return out


@kernel
def _resize(  # type: ignore[no-untyped-def]
    image_at, image_stride, rows, columns, out_at, out_stride, height, width, x0, step_x, y0, step_y
):
    pair = np.zeros((2, 3 * columns), np.uint16)
    plan = _plan_columns(x0, step_x, width if step_x >= 1.0 else 0, columns)
    if step_y < 1.0:
        for y in range(height):
            mix_rows(image_at, image_stride, rows, 3 * columns, y0 + (y + 0.5) * step_y - 0.5, pair[y & 1])
            if y & 1 or y == height - 1:
                _resize_pair(pair, y, plan, x0, step_x, out_at, out_stride, width)
        return
    first, last, shares = segments(y0, step_y, height, rows)
    most = np.intp(0)
    for j in range(height + 1):
        most = max(most, first[j + 1] - first[j])
    total_bits, running_bits = spare_bits(255 * most), spare_bits(255 * most * (most - 1) // 2)
    total_unit, running_unit = LEVEL * 2.0 ** (16 - total_bits), LEVEL * 2.0 ** (16 - running_bits) / step_y
    sums, carry = np.empty(RUNNING + BLOCK, np.uint16), np.zeros(3 * columns, np.uint16)
    wide = np.empty(RUNNING + BLOCK, np.uint64)
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
        row = pair[(j - 1) & 1]
        done = 0
        if most <= MOST_ROWS:
            done = 3 * columns // COLUMNS * COLUMNS
            units = np.uint16(1 << total_bits), np.uint16(1 << running_bits)
            shrink_rows(image_at + first[j] * image_stride, image_stride, count, units, factors, row[:done], carry)
        for left in range(done, 3 * columns, BLOCK):
            right = min(left + BLOCK, 3 * columns)
            at = image_at + first[j] * image_stride + left
            sum_rows(at, image_stride, count, right - left, wide, sums, total_bits, running_bits)
            add_shares(sums, factors, row[left:right], carry[left:right])
        if j > 0 and (j == height or j & 1 == 0):
            _resize_pair(pair, j - 1, plan, x0, step_x, out_at, out_stride, width)


@kernel
def _plan_columns(start, step, outputs, pixels):  # type: ignore[no-untyped-def]
    """Return what all rows share, see `_shrink_pair`: segments, factors, buffers for two rows and their result."""
    first, last, shares = segments(start, step, outputs, pixels)
    counts, masks = np.empty(outputs + 1, np.intp), np.zeros(outputs + 1, np.int32)
    factors = np.zeros((outputs + 1, 4), np.float32)
    for j in range(outputs + 1):
        before = shares[j - 1] / LEVEL if j > 0 else 0.0
        after = shares[j] / LEVEL if j < outputs else 0.0
        factors[j, 0], factors[j, 1] = before * (1.0 - last[j]), before / step
        factors[j, 2], factors[j, 3] = after * last[j], -after / step
        counts[j] = first[j + 1] - first[j]
        if counts[j] == np.intp(step) + 1:
            counts[j], masks[j] = counts[j] - 1, -1
    zipped = np.zeros((3 * pixels + 4, 2), np.uint16)  # `load_pixels` reads one element beyond a pixel
    return first, counts, masks, factors, zipped.ravel(), np.empty(6 * outputs + 8, np.uint8)


@kernel
def _resize_pair(pair, y, plan, start, step, out_at, out_stride, width):  # type: ignore[no-untyped-def]
    """Resize row ``y``, and row ``y - 1`` if ``y`` is odd, to ``width`` pixels of bytes; ``pair`` has uint16 pixels."""
    lower = numba.carray(bytes_at(out_at + y * out_stride), (3 * width,))
    upper = numba.carray(bytes_at(out_at + (y & ~1) * out_stride), (3 * width,))
    first, counts, masks, factors, zipped, levels = plan
    if 1.0 <= step < _MOST_COLUMNS - 1:
        for i in range(pair.shape[1]):
            zipped[2 * i] = pair[0, i]
            zipped[2 * i + 1] = pair[1, i]
        _shrink_pair(zipped, first, counts, masks, factors, levels)
        odd = y & 1
        for i in range(3 * width):
            upper[i] = levels[2 * i + 6]
        for i in range(3 * width * odd):
            lower[i] = levels[2 * i + 7]
        return
    for row, out in ((pair[0], upper), (pair[y & 1], lower)):
        if step < 1.0:
            _enlarge_row(row, start, step, out)
        else:
            _shrink_wide_row(row, first, factors, out)


@kernel
def _shrink_pair(zipped, first, counts, masks, factors, levels):  # type: ignore[no-untyped-def]
    """Shrink two rows whose elements alternate; output j of both is ``levels[6 * j + 6 : 6 * j + 12]``.

    Segments differ by one pixel. The last pixel of the longer ones is masked instead of looped over, because the
    processor cannot predict which segments are longer.
    """
    half = splat(np.float32(0.5))
    carry = half
    for j in range(len(counts)):
        total = running = splat(np.int32(0))
        at = 6 * first[j]
        for _ in range(counts[j]):
            running = add(running, total)
            total = add(total, load_pixels(zipped, at))
            at += 6
        mask = splat(masks[j])
        running = add(running, bits_and(total, mask))
        total = add(total, bits_and(load_pixels(zipped, at), mask))
        level = add(carry, add(scale(total, factors[j, 0]), scale(running, factors[j, 1])))
        store_pixels(levels, 6 * j, level)
        carry = add(half, add(scale(total, factors[j, 2]), scale(running, factors[j, 3])))


@kernel
def _shrink_wide_row(row, first, factors, out):  # type: ignore[no-untyped-def]
    """Shrink a row whose sums do not fit in 31 bits."""
    for c in range(3):
        carry = np.float32(0.5)
        for j in range(len(factors)):
            total = running = np.int64(0)
            for x in range(first[j], first[j + 1]):
                running += total
                total += np.int64(row[3 * x + c])
            if j > 0:
                level = carry + np.float32(total) * factors[j, 0] + np.float32(running) * factors[j, 1]
                out[3 * (j - 1) + c] = np.uint8(np.int32(level))
            carry = np.float32(0.5) + np.float32(total) * factors[j, 2] + np.float32(running) * factors[j, 3]


@kernel
def _enlarge_row(row, start, step, out):  # type: ignore[no-untyped-def]
    columns = len(row) // 3
    for x in range(len(out) // 3):
        u = min(max(start + (x + 0.5) * step - 0.5, 0.0), columns - 1.0)
        left = np.intp(u)
        right = min(left + 1, columns - 1)
        share = np.float32((u - left) / LEVEL)
        rest = np.float32(1.0 / LEVEL) - share
        for c in range(3):
            level = np.float32(row[3 * left + c]) * rest + np.float32(row[3 * right + c]) * share
            out[3 * x + c] = np.uint8(np.int32(level + np.float32(0.5)))
