"""The first pass of `resize`: rows of bytes become rows of uint16, one for each output row."""

from typing import Final

import numba
import numpy as np

from camrt.kernels.jit import kernel
from camrt.kernels.lanes import (
    COLUMNS,
    add,
    load_bytes,
    load_shorts,
    multiply,
    splat,
    store_shorts,
    subtract,
    upper_half,
)
from camrt.kernels.memory import bytes_at

LEVEL: Final = 64.0
"""A grey level in the row between the passes, uint16. Its error is below a tenth of a level."""

MOST_ROWS: Final = 23
"""Rows whose sums fit in 16 bits: 255 * 23 * 22 / 2 < 65536."""

_ROUNDING: Final = np.uint16(1)
"""Mean error of four products whose lower halves are cut off, one of them subtracted."""

BLOCK: Final = 2048
"""Bytes of a row that `sum_rows` sums at a time, so that the sums stay in the cache."""

RUNNING: Final = BLOCK + 160
"""Place of the running sums behind the totals, not a multiple of 4 KiB away; see `memory.aligned_rows`."""


@kernel
def segments(start, step, outputs, pixels):  # type: ignore[no-untyped-def]
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
        last[j] = max(0.0, (first[j + 1] - 0.5 - start) / step - (j - 0.5))
        weight = count * (last[j] - 0.5 * (count - 1) / step)
        if j > 0:
            shares[j - 1] = 1.0 / (shares[j - 1] + count - weight)
        if j < outputs:
            shares[j] = weight
    return first, last, shares


@kernel
def spare_bits(most):  # type: ignore[no-untyped-def]
    """Return by how many bits a number up to ``most`` can grow within 16 bits; it is negative if it must shrink."""
    bits = 16
    while most > 0:
        most >>= 1
        bits -= 1
    return bits


@kernel
def shrink_rows(at, stride, rows, units, factors, row, carry):  # type: ignore[no-untyped-def]
    """Add the share of a segment to the output above it, which is then complete, and begin the output below it.

    The sums of `COLUMNS` columns of bytes stay in registers; ``row`` has a multiple of these.
    """
    total_unit, running_unit = splat(units[0]), splat(units[1])
    above_total, above_running = splat(factors[0]), splat(factors[1])
    below_total, below_running = splat(factors[2]), splat(factors[3])
    rounding = splat(_ROUNDING)
    for i in range(0, len(row), COLUMNS):
        total = running = splat(np.uint16(0))
        place = at + i
        for _ in range(rows):
            running = add(running, total)
            total = add(total, load_bytes(place))
            place += stride
        total, running = multiply(total, total_unit), multiply(running, running_unit)
        above = add(upper_half(total, above_total), upper_half(running, above_running))
        below = subtract(upper_half(total, below_total), upper_half(running, below_running))
        store_shorts(row, i, add(load_shorts(carry, i), above))
        store_shorts(carry, i, add(below, rounding))


@kernel
def sum_rows(at, stride, rows, size, wide, sums, total_bits, running_bits):  # type: ignore[no-untyped-def]
    """Sum any number of rows; ``sums`` gets the sums times a power of two that makes them fit in 16 bits."""
    wide[:size] = 0
    wide[RUNNING : RUNNING + size] = 0
    for start in range(0, rows, MOST_ROWS):
        count = min(MOST_ROWS, rows - start)
        _sum_few_rows(at + start * stride, stride, count, size, sums)
        later = np.uint64(rows - start - count)
        for i in range(size):
            total = np.uint64(sums[i])
            wide[i] += total
            wide[i + RUNNING] += np.uint64(sums[i + RUNNING]) + total * later
    for i in range(size):
        sums[i] = np.uint16(np.float64(wide[i]) * 2.0**total_bits)
        sums[i + RUNNING] = np.uint16(np.float64(wide[i + RUNNING]) * 2.0**running_bits)


@kernel
def _sum_few_rows(at, stride, rows, size, sums):  # type: ignore[no-untyped-def]
    """Fill ``sums`` with the totals of up to `MOST_ROWS` rows, and with the running sums from `RUNNING` on."""
    whole = size // COLUMNS * COLUMNS
    for i in range(0, whole, COLUMNS):
        total = running = splat(np.uint16(0))
        place = at + i
        for _ in range(rows):
            running = add(running, total)
            total = add(total, load_bytes(place))
            place += stride
        store_shorts(sums, i, total)
        store_shorts(sums, i + RUNNING, running)
    sums[whole:size] = 0
    sums[RUNNING + whole : RUNNING + size] = 0
    for y in range(rows):
        row = numba.carray(bytes_at(at + y * stride), (size,))
        for i in range(whole, size):
            sums[i + RUNNING] = np.uint16(sums[i + RUNNING] + sums[i])
            sums[i] = np.uint16(sums[i] + np.uint16(row[i]))


@kernel
def add_shares(sums, factors, row, carry):  # type: ignore[no-untyped-def]
    """Add the share of a segment like `shrink_rows`."""
    above_total, above_running, below_total, below_running = factors
    for i in range(len(row)):
        total, running = sums[i], sums[i + RUNNING]
        row[i] = np.uint16(carry[i] + np.uint16(upper_half(total, above_total) + upper_half(running, above_running)))
        below = np.uint16(upper_half(total, below_total) - upper_half(running, below_running))
        carry[i] = np.uint16(below + _ROUNDING)


@kernel
def mix_rows(at, stride, rows, size, v, row):  # type: ignore[no-untyped-def]
    """Interpolate between two rows of the image, at height ``v`` in pixels."""
    v = min(max(v, 0.0), rows - 1.0)
    upper = np.intp(v)
    share = np.float32(LEVEL * (v - upper))
    rest = np.float32(LEVEL) - share
    a = numba.carray(bytes_at(at + upper * stride), (size,))
    b = numba.carray(bytes_at(at + min(upper + 1, rows - 1) * stride), (size,))
    for i in range(size):
        row[i] = np.uint16(np.int32(np.float32(a[i]) * rest + np.float32(b[i]) * share + np.float32(0.5)))
