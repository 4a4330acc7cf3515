"""How alike two maps are, held to SciPy, to the runtime, and to what can be worked out by hand."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from camrt import kernels
from camrt.export.quantize.map_similarity import GRID, WARM, box_iou, peak_distance, pearson, rank_correlation, warm_box
from camrt.runtime.maps.boxes import boxes_of

SIDES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=9)
PAIRS = SIDES.flatmap(
    lambda shape: st.tuples(*[hnp.arrays(np.float64, shape, elements=st.integers(-9, 9).map(float))] * 2)
)


@given(PAIRS)
def test_the_correlations_are_those_of_scipy(pair):
    first, second = pair
    assume(np.ptp(first) > 0 and np.ptp(second) > 0)
    assert pearson(first, second) == pytest.approx(stats.pearsonr(first.ravel(), second.ravel())[0], abs=1e-9)
    expected = stats.spearmanr(first.ravel(), second.ravel())[0]
    assert rank_correlation(first, second) == pytest.approx(expected, abs=1e-9)


@given(PAIRS)
def test_scale_and_offset_do_not_matter(pair):
    first, _ = pair
    assume(np.ptp(first) > 0)
    assert pearson(first, 3 * first + 5) == pytest.approx(1)
    assert rank_correlation(first, first.astype(np.float64) ** 3) == pytest.approx(1)
    assert warm_box(first) == warm_box(4 * first + 16)  # powers of two: not a bit is lost


def test_a_constant_map_is_like_a_constant_one_only():
    flat, other = np.zeros((3, 4)), np.arange(12.0).reshape(3, 4)
    assert (pearson(flat, flat + 7), pearson(flat, other), rank_correlation(flat, other)) == (1, 0, 0)
    assert warm_box(flat) is None
    assert (box_iou(None, None), box_iou(None, warm_box(other))) == (1, 0)


@given(hnp.arrays(np.float32, SIDES, elements=st.floats(-100, 100, width=32)))
def test_the_warm_box_is_the_first_that_the_runtime_gives(cam):
    assume(np.ptp(cam) > 1e-3)
    height, width = cam.shape
    scale = GRID / max(height, width)
    frame = (0, 0, max(1, round(width * scale)), max(1, round(height * scale)))
    boxes = boxes_of(kernels.normalize(cam), (0, 0, width, height), frame, WARM)
    # Both interpolate in float32, not in the same order: an edge may move by a pixel where a cell is at the threshold.
    same_size = [box for box in boxes if box_iou(box[:4], warm_box(cam)) > 0.98]
    assert same_size
    assert same_size[0] == boxes[0] or len(boxes) > 1


def test_the_overlap_of_boxes_by_hand():
    assert box_iou((0, 0, 2, 2), (1, 1, 3, 3)) == pytest.approx(1 / 7)
    assert box_iou((0, 0, 2, 2), (2, 0, 3, 2)) == 0
    assert box_iou((1, 2, 5, 6), (1, 2, 5, 6)) == 1


def test_the_distance_of_peaks_by_hand():
    first, second = np.zeros((3, 4)), np.zeros((3, 4))
    first[0, 0], second[2, 3] = 1, 1
    assert peak_distance(first, second) == pytest.approx(np.hypot(2, 3) / 5)
    assert peak_distance(first, first) == 0
