"""Boxes of warm regions agree with a flood fill in plain Python, and bulk thresholds with single ones."""

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from camrt import kernels
from camrt.kernels.regions import GRID

SIDES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12)
# Few different values make many ties; whole fractions of 1 keep `value > threshold * peak` exact.
HEATMAPS = hnp.arrays(np.float32, SIDES, elements=st.integers(0, 8).map(lambda number: number / 8))
THRESHOLDS = st.lists(st.sampled_from([0.0, 0.125, 0.25, 0.5, 0.75, 0.875]), max_size=5)


def flood_fill(heatmap, threshold):
    """Twin: the (area, x0, y0, x1, y1, score) of the 8-connected regions above a fraction of the maximum."""
    remaining = {(int(y), int(x)) for y, x in np.argwhere(heatmap > threshold * heatmap.max())}
    regions = []
    while remaining:
        waiting, region = [remaining.pop()], []
        while waiting:
            y, x = waiting.pop()
            region.append((y, x))
            near = {(v, u) for v in (y - 1, y, y + 1) for u in (x - 1, x, x + 1)} & remaining
            remaining -= near
            waiting += near
        ys, xs = zip(*region, strict=True)
        score = max(float(heatmap[cell]) for cell in region)
        regions.append((len(region), min(xs), min(ys), max(xs) + 1, max(ys) + 1, score))
    return regions


@given(HEATMAPS, THRESHOLDS)
def test_boxes_equal_those_of_a_flood_fill(heatmap, thresholds):
    """A frame of the map's own size is sampled at the cells' centres, so that the grid is the map."""
    height, width = heatmap.shape
    bulk = kernels.boxes(heatmap, thresholds, (0, 0, width, height))
    assert len(bulk) == len(thresholds)
    for threshold, boxes in zip(thresholds, bulk, strict=True):
        expected = flood_fill(heatmap, threshold)
        assert sorted(map(tuple, boxes)) == sorted(region[1:] for region in expected)
        areas = {}  # several regions may have one box
        for area, *box in expected:
            areas.setdefault(tuple(box), []).append(area)
        largest = max((region[0] for region in expected), default=0)
        assert not boxes or largest in areas[tuple(boxes[0])]


@given(HEATMAPS, THRESHOLDS)
def test_many_thresholds_at_once_give_the_boxes_of_single_thresholds(heatmap, thresholds):
    rect = (5, 7, 45, 37)
    single = [kernels.boxes(heatmap, [threshold], rect)[0] for threshold in thresholds]
    assert kernels.boxes(heatmap, thresholds, rect) == single


def labelled_by_opencv(grid, level):
    """Twin: the (left, top, right, bottom, score) of the regions above a level, with OpenCV."""
    above = (grid > np.float32(level)).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(above, connectivity=8)
    regions = []
    for number in range(1, count):
        left, top, width, height, size = stats[number].tolist()
        first = int(np.argmax(labels == number))
        score = float(grid[labels == number].max())
        regions.append((-size, first, (left, top, left + width, top + height, score)))
    return [shape for _, _, shape in sorted(regions)]


@settings(max_examples=40)
@given(
    st.integers(0, 2**32 - 1),
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
    st.tuples(st.integers(1, GRID), st.integers(1, GRID)),
    st.integers(1, 40),
    st.booleans(),
)
def test_all_thresholds_in_one_pass_equal_connected_components_of_each(seed, shape, size, count, coarse):
    """Regions that split, merge and have holes: noise, fine or in a few values, on grids up to the largest."""
    random = np.random.default_rng(seed)
    heatmap = random.random(shape, np.float32)
    if coarse:
        heatmap = (heatmap * 6).round() / np.float32(6)
    width, height = size
    thresholds = [0.0, *random.random(count - 1)]
    grid = kernels.upsample(heatmap, width, height)
    bulk = kernels.boxes(heatmap, thresholds, (0, 0, width, height))
    for threshold, boxes in zip(thresholds, bulk, strict=True):
        assert list(map(tuple, boxes)) == labelled_by_opencv(grid, threshold * float(grid.max()))


def test_of_equal_regions_the_first_in_reading_order_comes_first():
    heatmap = np.zeros((5, 5), np.float32)
    heatmap[3, 0] = heatmap[2, 4] = heatmap[0, 2] = 1.0
    (boxes,) = kernels.boxes(heatmap, [0.5], (0, 0, 5, 5))
    assert [box[:2] for box in boxes] == [(2, 0), (4, 2), (0, 3)]


def test_a_map_with_as_many_regions_as_a_grid_can_have_keeps_all():
    heatmap = np.zeros((GRID, GRID), np.float32)
    heatmap[::2, ::2] = np.linspace(0.1, 1.0, (GRID // 2) ** 2).reshape(GRID // 2, -1)
    half, every = kernels.boxes(heatmap, [0.55, 0.0], (0, 0, GRID, GRID))
    assert len(every) == (GRID // 2) ** 2
    assert len(half) == int((heatmap > 0.55).sum())


def test_a_map_of_nan_has_no_box():
    assert kernels.boxes(np.full((3, 3), np.nan, np.float32), [0.2], (0, 0, 9, 9)) == [[]]


def test_threads_do_not_share_buffers():
    heatmaps = [np.random.default_rng(seed).random((9, 9), np.float32) for seed in range(8)]
    expected = [kernels.boxes(heatmap, [0.3, 0.7], (0, 0, 200, 200)) for heatmap in heatmaps]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(20):
            assert list(pool.map(lambda heatmap: kernels.boxes(heatmap, [0.3, 0.7], (0, 0, 200, 200)), heatmaps)) == (
                expected
            )


def test_regions_are_sorted_by_their_number_of_cells():
    heatmap = np.zeros((6, 9), np.float32)
    heatmap[0, :4] = 0.5  # 4 cells
    heatmap[2:5, 6:9] = 1.0  # 9 cells
    heatmap[5, 0] = 0.9  # 1 cell
    assert kernels.boxes(heatmap, [0.2], (0, 0, 9, 6)) == [
        [(6, 2, 9, 5, 1.0), (0, 0, 4, 1, 0.5), (0, 5, 1, 6, pytest.approx(0.9))]
    ]


def test_cells_that_touch_at_a_corner_are_one_region():
    (boxes,) = kernels.boxes(np.eye(4, dtype=np.float32), [0.5], (0, 0, 4, 4))
    assert boxes == [(0, 0, 4, 4, 1.0)]


def test_boxes_cover_their_regions_in_a_frame_finer_than_the_grid():
    heatmap = np.random.default_rng(0).random((7, 7), np.float32)
    width, height = 1920, 1080
    rect = (100, 50, 100 + width, 50 + height)
    columns, rows = GRID, round(height * GRID / width)
    grid = kernels.upsample(heatmap, columns, rows)
    for threshold, boxes in zip((0.3, 0.8), kernels.boxes(heatmap, [0.3, 0.8], rect), strict=True):
        _, _, stats, _ = cv2.connectedComponentsWithStats((grid > threshold * grid.max()).astype(np.uint8))
        expected = []
        for remaining, top, wide, high, _ in stats[1:]:
            x0, x1 = np.floor(remaining * width / columns), np.ceil((remaining + wide) * width / columns)
            y0, y1 = np.floor(top * height / rows), np.ceil((top + high) * height / rows)
            expected.append((100 + x0, 50 + y0, 100 + x1, 50 + y1))
        assert sorted(tuple(box[:4]) for box in boxes) == sorted(expected)
        areas = stats[1:, cv2.CC_STAT_AREA]
        assert tuple(boxes[0][:4]) == expected[int(areas.argmax())]


def test_only_the_part_of_the_map_that_the_frame_shows_has_boxes():
    heatmap = np.zeros((8, 8), np.float32)
    heatmap[0, 0] = 1.0
    heatmap[5:7, 5:7] = 0.5
    (boxes,) = kernels.boxes(heatmap, [0.5], (10, 20, 50, 60), (4.0, 4.0, 8.0, 8.0))
    assert len(boxes) == 1
    assert boxes[0].score == pytest.approx(0.5)  # the maximum is that of the part
    (nothing,) = kernels.boxes(heatmap, [0.0], (10, 20, 50, 60), (2.0, 2.0, 4.0, 4.0))
    assert nothing == []


def test_without_a_frame_the_longer_side_of_the_map_has_the_size_of_the_grid():
    heatmap = np.ones((3, 12), np.float32)
    assert kernels.boxes(heatmap, [0.2]) == [[(0, 0, GRID, GRID // 4, 1.0)]]


def test_a_map_of_zeros_has_no_box():
    assert kernels.boxes(np.zeros((3, 4), np.float32), [0.0, 0.2], (0, 0, 9, 9)) == [[], []]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones((3, 3, 3), np.float32), [0.2]), "h, w"),
        ((np.ones((3, 3), np.float32), [0.2, 1.0]), r"thresholds must be in \[0, 1\), not \[0.2, 1.0\]"),
        ((np.ones((3, 3), np.float32), [-0.1]), "thresholds must be in"),
        ((np.ones((3, 3), np.float32), [0.2], (5, 0, 5, 9)), "x0 < x1"),
    ],
)
def test_wrong_arguments_raise_value_error(arguments, message):
    with pytest.raises(ValueError, match=message):
        kernels.boxes(*arguments)
