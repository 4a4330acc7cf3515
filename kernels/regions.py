"""Boxes around the warm regions of a map, for any number of thresholds in one pass over the map.

The cells are added to a union-find structure from the highest threshold to the lowest. Regions only grow and merge, so
every cell is visited once, whatever the number of thresholds.
"""

import threading
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from camrt.kernels.jit import kernel
from camrt.kernels.maps import F32
from camrt.kernels.upsample import Rect, check_map, upsample

GRID: Final = 256
"""Regions are found on a grid with at most this many cells along its longer side. It is finer than any map, and a 4K
frame costs no more than a small one."""
_LEFT, _TOP, _RIGHT, _BOTTOM, _SIZE, _FIRST = range(6)
_MOST_REGIONS: Final = (GRID // 2) ** 2
"""Most cells that begin a region: no two of them touch, so there is one in each square of 2 x 2 cells."""


class Box(NamedTuple):
    """The box of a region; ``x1`` and ``y1`` are exclusive."""

    x0: int
    y0: int
    x1: int
    y1: int
    score: float
    """The greatest value of the map in the region."""


class _Buffers(threading.local):
    """Arrays that a thread reuses for each map, because new ones cost more than the search."""

    def __init__(self) -> None:
        cells = GRID * GRID
        self.grid = np.empty(cells, np.float32)
        self.owner = np.empty((GRID + 2) * (GRID + 2), np.int32)
        self.runs = np.empty((cells, 4), np.int32)
        self.order = np.empty(cells, np.int32)
        self.parent = np.empty(cells, np.int32)
        self.shapes = np.empty((cells, 6), np.int32)
        self.scores = np.empty(cells, np.float32)
        self.roots = np.empty(_MOST_REGIONS, np.int32)
        self.found = np.empty((_MOST_REGIONS, 6), np.int32)
        self.found_scores = np.empty(_MOST_REGIONS, np.float32)


_buffers = _Buffers()


def boxes(
    heatmap: F32,
    thresholds: Sequence[float],
    rect: tuple[int, int, int, int] | None = None,
    map_rect: Rect | None = None,
) -> list[list[Box]]:
    """Return the boxes of the regions of a map that are above fractions of its maximum.

    A region is a set of grid cells that touch at a side or a corner.

    Args:
        heatmap: (h, w) float32 in [0, 1], as `normalize` returns it.
        thresholds: T fractions of the maximum of the upsampled map, in [0, 1).
        rect: (x0, y0, x1, y1) in frame pixels, the part of the frame that the map covers. None: the map is enlarged to
            `GRID` cells along its longer side, and the boxes are in these cells.
        map_rect: (u0, v0, u1, v1) in map cells, the part of the map that ``rect`` shows; the whole map when None.

    Returns:
        for each threshold the boxes, largest region first, of equal ones the first in reading order; no box where the
        map is zero.

    Raises:
        ValueError: a map without cells, a rect without pixels, or a threshold out of range.

    Source: Zhou et al. 2016, arXiv:1512.04150, section 3.2 (threshold 0.2, first box); Najman and Couprie 2006, IEEE
    Transactions on Image Processing 15, section IV (all thresholds in one pass).
    """
    check_map(heatmap)
    if not all(0.0 <= threshold < 1.0 for threshold in thresholds):
        raise ValueError(f"thresholds must be in [0, 1), not {list(thresholds)}")
    x0, y0, x1, y1 = _enlarged(heatmap) if rect is None else rect
    width, height = x1 - x0, y1 - y0
    if width <= 0 or height <= 0:
        raise ValueError(f"rect {rect} must be (x0, y0, x1, y1) with x0 < x1 and y0 < y1")
    scale = min(1.0, GRID / max(width, height))
    columns, rows = max(1, round(width * scale)), max(1, round(height * scale))
    buffer = _buffers.grid[: rows * columns].reshape(rows, columns)
    grid = upsample(heatmap, columns, rows, map_rect, buffer)
    peak = float(grid.max())
    if not (peak > 0.0 and thresholds):
        return [[] for _ in thresholds]
    found = {
        level: [
            Box(
                x0 + left * width // columns,
                y0 + top * height // rows,
                x0 - (-right * width // columns),  # rounded up: the box covers the region
                y0 - (-bottom * height // rows),
                score,
            )
            for left, top, right, bottom, score in regions
        ]
        for level, regions in _regions(grid, sorted({np.float32(threshold * peak) for threshold in thresholds}))
    }
    return [list(found[np.float32(threshold * peak)]) for threshold in thresholds]


def _regions(grid: F32, levels: list[np.float32]) -> list[tuple[np.float32, list[tuple[int, int, int, int, float]]]]:
    """Return each level with (left, top, right, bottom, score) of the regions above it, in cells, largest first.

    Args:
        grid: float32 (rows, columns), each at most `GRID`.
        levels: ascending, without repetitions.
    """
    its = _buffers
    ends = np.zeros(len(levels) + 1, np.int32)
    _sort_runs(grid, np.array(levels, np.float32), its.runs, its.order, ends)
    owner = its.owner[: (grid.shape[0] + 2) * (grid.shape[1] + 2)].reshape(grid.shape[0] + 2, -1)
    owner.fill(-1)
    begin = count = 0
    regions = []
    for level, end in zip(reversed(levels), ends.tolist(), strict=False):
        new = its.order[begin:end]
        count = _add_runs(grid, its.runs, new, owner, its.parent, its.shapes, its.scores, its.roots, count)
        count = _collect(its.parent, its.shapes, its.scores, its.roots, count, its.found, its.found_scores)
        shapes, scores = its.found[:count], its.found_scores[:count]
        if count > 1:
            order = np.lexsort((shapes[:, _FIRST], -shapes[:, _SIZE]))
            shapes, scores = shapes[order], scores[order]
        rows = zip(shapes[:, :_SIZE].tolist(), scores.tolist(), strict=True)
        regions.append((level, [(*shape, score) for shape, score in rows]))
        begin = end
    return regions


@kernel
def _sort_runs(grid, levels, runs, order, ends):  # type: ignore[no-untyped-def]
    """Find the runs, neighbours in a row that exceed the same levels, and sort them by the number of these levels.

    Args:
        grid: float32 (rows, columns).
        levels: float32 (n,), ascending.
        runs: int32 (cells, 4), filled: row, first column, column behind the last, number of levels not exceeded.
        order: int32 (cells,), filled: the runs above the highest level, then those above the second highest, ...; each
            group in reading order. Runs above no level are left out.
        ends: int32 (n + 1,) zeros, filled: ends of the groups in ``order``.
    """
    rows, columns = grid.shape
    count = len(levels)
    total = 0
    for y in range(rows):
        x = 0
        while x < columns:
            low, high = 0, count
            while low < high:
                middle = (low + high) // 2
                if grid[y, x] > levels[middle]:
                    low = middle + 1
                else:
                    high = middle
            first = x
            x += 1
            if low == count:
                while x < columns and grid[y, x] > levels[low - 1]:
                    x += 1
            elif low == 0:
                while x < columns and not grid[y, x] > levels[0]:
                    x += 1
            else:
                while x < columns and grid[y, x] > levels[low - 1] and not grid[y, x] > levels[low]:
                    x += 1
            if low > 0:
                runs[total, 0], runs[total, 1], runs[total, 2], runs[total, 3] = y, first, x, count - low
                ends[count - low] += 1
                total += 1
    begin = 0
    for i in range(count):
        begin += ends[i]
        ends[i] = begin - ends[i]  # the begin of the group, which the next loop moves to its end
    for run in range(total):
        group = runs[run, 3]
        order[ends[group]] = run
        ends[group] += 1


@kernel
def _find(parent, run):  # type: ignore[no-untyped-def]
    """Return the root of a run, and shorten the way to it."""
    while parent[run] != run:
        parent[run] = parent[parent[run]]
        run = parent[run]
    return run


@kernel
def _join(parent, shapes, scores, root, run, neighbour):  # type: ignore[no-untyped-def]
    """Merge the regions of a run and of its neighbour; returns the root of both, one of those that began a region.

    ``root`` is the root of the run's region, or the run itself while it is in none.
    """
    other = _find(parent, neighbour)
    if root == other:
        return root
    if root == run or shapes[root, 4] < shapes[other, 4]:
        root, other = other, root
    parent[other] = root
    shapes[root, 0] = min(shapes[root, 0], shapes[other, 0])
    shapes[root, 1] = min(shapes[root, 1], shapes[other, 1])
    shapes[root, 2] = max(shapes[root, 2], shapes[other, 2])
    shapes[root, 3] = max(shapes[root, 3], shapes[other, 3])
    shapes[root, 4] += shapes[other, 4]
    shapes[root, 5] = min(shapes[root, 5], shapes[other, 5])
    scores[root] = max(scores[root], scores[other])
    return root


@kernel
def _add_runs(grid, runs, order, owner, parent, shapes, scores, roots, count):  # type: ignore[no-untyped-def]
    """Add runs to the regions that they touch; a run that touches none begins one.

    Args:
        grid: float32 (rows, columns).
        runs: int32 (cells, 4), as `_sort_runs` fills it.
        order: int32 (n,), the runs to add.
        owner: int32 (rows + 2, columns + 2), updated: the run of each cell that is in a region, else -1; with a border.
        parent: int32 (cells,), updated: the parent of each run in ``owner``.
        shapes: int32 (cells, 6), updated at roots: left, top, right, bottom, size, first cell in reading order.
        scores: float32 (cells,), updated at roots: the greatest value.
        roots: int32, updated: the runs that began a region.
        count: number of ``roots``.

    Returns: the new number of ``roots``.
    """
    columns = grid.shape[1]
    for run in order:
        y, first, end = runs[run, 0], runs[run, 1], runs[run, 2]
        greatest = grid[y, first]
        for x in range(first, end):
            owner[y + 1, x + 1] = run
        for x in range(first, end):
            if grid[y, x] > greatest:
                greatest = grid[y, x]
        parent[run] = run
        shapes[run, 0], shapes[run, 1], shapes[run, 2], shapes[run, 3] = first, y, end, y + 1
        shapes[run, 4], shapes[run, 5] = end - first, y * columns + first
        scores[run] = greatest
        root = run
        for i in range(2):  # the rows above and below, with the corners
            x = first
            while x < end + 2:
                neighbour = owner[y + 2 * i, x]
                if neighbour >= 0:
                    root = _join(parent, shapes, scores, root, run, neighbour)
                    x = runs[neighbour, 2]  # its last cell, in the columns of ``owner``
                x += 1
        for i in range(2):  # left and right
            neighbour = owner[y + 1, end + 1 if i else first]
            if neighbour >= 0:
                root = _join(parent, shapes, scores, root, run, neighbour)
        if root == run:
            roots[count] = run
            count += 1
    return count


@kernel
def _collect(parent, shapes, scores, roots, count, found, found_scores):  # type: ignore[no-untyped-def]
    """Copy the shapes and scores of all regions, and forget the roots of merged ones; returns the number of regions."""
    kept = 0
    for i in range(count):
        root = roots[i]
        if parent[root] == root:
            roots[kept] = root
            found[kept] = shapes[root]
            found_scores[kept] = scores[root]
            kept += 1
    return kept


def _enlarged(heatmap: F32) -> tuple[int, int, int, int]:
    height, width = heatmap.shape
    scale = GRID / max(height, width)
    return 0, 0, max(1, round(width * scale)), max(1, round(height * scale))
