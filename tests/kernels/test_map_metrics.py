"""The metrics on maps agree with SciPy, with plain loops, and with values computed by hand."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from camrt.kernels.map_metrics import (
    box_iou,
    energy_in_mask,
    mask_of_boxes,
    peak,
    peak_distance,
    pearson,
    points_at_mask,
    rank_correlation,
)

SIDES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=9)
PAIRS = SIDES.flatmap(
    lambda shape: st.tuples(*[hnp.arrays(np.float64, shape, elements=st.integers(-9, 9).map(float))] * 2)
)
BOXES = st.tuples(*[st.integers(0, 7)] * 2, *[st.integers(1, 8)] * 2).map(
    lambda box: (box[0], box[1], box[0] + box[2], box[1] + box[3])
)


@given(PAIRS)
def test_correlations_equal_those_of_scipy(pair):
    first, second = pair
    assume(np.ptp(first) > 0 and np.ptp(second) > 0)
    assert pearson(first, second) == pytest.approx(stats.pearsonr(first.ravel(), second.ravel())[0], abs=1e-9)
    expected = stats.spearmanr(first.ravel(), second.ravel())[0]
    assert rank_correlation(first, second) == pytest.approx(expected, abs=1e-9)


@given(PAIRS)
def test_pearson_ignores_scale_and_offset_and_rank_correlation_any_monotonic_change(pair):
    first, _ = pair
    assume(np.ptp(first) > 0)
    assert pearson(first, 3 * first + 5) == pytest.approx(1)
    assert rank_correlation(first, first.astype(np.float64) ** 3) == pytest.approx(1)


def test_a_constant_map_correlates_with_constant_maps_only():
    flat, other = np.zeros((3, 4)), np.arange(12.0).reshape(3, 4)
    assert (pearson(flat, flat + 7), pearson(flat, other), rank_correlation(flat, other)) == (1, 0, 0)


def test_the_peak_is_the_first_greatest_value_in_reading_order():
    cam = np.zeros((3, 4))
    cam[1, 2] = cam[2, 0] = 5
    assert peak(cam) == (1, 2)


def test_peak_distance_equals_a_value_computed_by_hand():
    first, second = np.zeros((3, 4)), np.zeros((3, 4))
    first[0, 0], second[2, 3] = 1, 1
    assert peak_distance(first, second) == pytest.approx(np.hypot(2, 3) / 5)
    assert peak_distance(first, first) == 0


@given(st.lists(BOXES, min_size=1, max_size=4), st.lists(BOXES, min_size=1, max_size=4))
def test_iou_of_all_pairs_equals_a_count_of_pixels(first, second):
    def pixels(box):
        return {(x, y) for x in range(box[0], box[2]) for y in range(box[1], box[3])}

    ious = box_iou(np.array(first)[:, np.newaxis], second)
    assert ious.shape == (len(first), len(second))
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            assert ious[i, j] == pytest.approx(len(pixels(a) & pixels(b)) / len(pixels(a) | pixels(b)))


def test_iou_equals_values_computed_by_hand():
    assert box_iou((0, 0, 2, 2), (1, 1, 3, 3)) == pytest.approx(1 / 7)
    assert box_iou((0, 0, 2, 2), (2, 0, 3, 2)) == 0
    assert box_iou((1, 2, 5, 6), (1, 2, 5, 6)) == 1
    assert box_iou((1, 1, 1, 1), (1, 1, 1, 1)) == 0
    assert box_iou((1.5, 0, 2.5, 1), (2, 0, 3, 1)) == pytest.approx(1 / 3)


def test_the_pointing_game_counts_only_a_peak_on_the_object():
    heatmap = np.zeros((4, 6))
    heatmap[2, 5] = 1
    mask = np.zeros((4, 6), bool)
    mask[2, 5] = True
    assert points_at_mask(heatmap, mask)
    assert not points_at_mask(heatmap, ~mask)
    assert points_at_mask(heatmap, mask_of_boxes([(0, 0, 1, 1), (5, 2, 6, 3)], 6, 4))
    assert not points_at_mask(heatmap, mask_of_boxes([(0, 0, 5, 4)], 6, 4))  # x1 is exclusive
    assert not points_at_mask(heatmap, mask_of_boxes([(0, 0, 6, 2)], 6, 4))  # and so is y1
    assert not points_at_mask(heatmap, mask_of_boxes([], 6, 4))


@given(st.integers(0, 9), st.integers(0, 12), hnp.arrays(bool, (10, 13), elements=st.booleans()), st.floats(0, 18))
def test_the_tolerance_of_the_pointing_game_is_a_disc(y, x, mask, tolerance):
    heatmap = np.zeros(mask.shape)
    heatmap[y, x] = 1
    near = any(np.hypot(v - y, u - x) <= tolerance for v, u in np.argwhere(mask))
    assert points_at_mask(heatmap, mask, tolerance) == near


def test_the_pointing_game_with_15_pixels_equals_values_computed_by_hand():
    heatmap = np.zeros((40, 40))
    heatmap[20, 20] = 1
    far, near = np.zeros((2, 40, 40), bool)
    near[29, 32] = True  # 9 and 12 pixels: 15
    far[29, 33] = True
    assert points_at_mask(heatmap, near, 15)
    assert not points_at_mask(heatmap, far, 15)


def test_energy_is_the_share_of_the_map_on_the_object():
    heatmap = np.array([[1, 2, 3], [4, 0, 10]], np.float32) / 20
    mask = np.array([[True, False, True], [False, True, True]])
    assert energy_in_mask(heatmap, mask) == pytest.approx(14 / 20)
    assert energy_in_mask(heatmap, ~mask) == pytest.approx(6 / 20)
    assert energy_in_mask(np.zeros((2, 3)), mask) == 0


def test_pixels_of_boxes_are_those_whose_numbers_lie_within():
    mask = mask_of_boxes([(1, 0, 3, 1), (2.5, 1.2, 4, 9), (-3, -3, 1, 1)], 5, 3)
    assert mask.astype(int).tolist() == [[1, 1, 1, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 1, 0]]
