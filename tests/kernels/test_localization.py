"""MaxBoxAcc, MaxBoxAccV2 and PxAP equal values worked out by hand, and plain loops over the published protocol."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_curve

from camrt.kernels.localization import (
    BINS,
    CUTS,
    SIDE,
    boxes_of_cuts,
    contour_boxes,
    frame_boxes,
    inclusive_iou,
    ious_of_cuts,
    max_box_acc,
    max_box_acc_v2,
    pixel_average_precision,
    pixel_histograms,
    score_map,
)


def painted(*rectangles):
    """Return a map of the square frame: (x0, y0, x1, y1, value) each, exclusive, later ones on top."""
    scores = np.zeros((SIDE, SIDE))
    for x0, y0, x1, y1, value in rectangles:
        scores[y0:y1, x0:x1] = value
    return scores


def test_the_map_is_enlarged_before_it_is_scaled():
    """Bicubic interpolation overshoots, so the order of the two steps changes the values."""
    cam = np.array([[0, 0, 0], [0, 5, 1], [0, -3, 2]], np.float64)
    scores = score_map(cam)
    enlarged = cv2.resize(cam, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    assert enlarged.max() > 5
    np.testing.assert_array_equal(scores, (enlarged - enlarged.min()) / (enlarged - enlarged.min()).max())
    assert (scores.min(), scores.max(), scores.dtype) == (0, 1, np.float64)


@pytest.mark.parametrize("cam", [np.full((3, 3), 7.0), np.array([[1, np.nan], [0, 2]])])
def test_a_constant_map_and_one_with_nan_become_zeros(cam):
    scores = score_map(cam)
    assert not scores.any()
    boxes = boxes_of_cuts(scores)
    assert len(boxes) == CUTS
    assert all(some.tolist() == [[0, 0, 0, 0]] for some, _ in boxes)


def test_a_map_of_a_part_of_the_frame_leaves_the_rest_cold():
    cam = np.random.default_rng(0).random((7, 7))
    scores = score_map(cam, frame_rect=(0.25, 0, 0.75, 1))
    assert not scores[:, :56].any()
    assert not scores[:, 168:].any()
    assert scores[:, 56:168].max() == 1
    half = cv2.resize(cam, (112, SIDE), interpolation=cv2.INTER_CUBIC)
    np.testing.assert_allclose(scores[:, 56:168], (half - half.min()) / np.ptp(half), atol=1e-6)


def test_the_bars_of_a_letterbox_are_cut_off():
    cam = np.zeros((8, 8), np.float32)
    cam[:2], cam[6:] = 9, 9  # the bars
    cam[2:6, :4] = 1
    scores = score_map(cam, input_rect=(0, 0.25, 1, 0.75))
    assert scores.shape == (SIDE, SIDE)
    assert scores[112, 50] > scores[112, 170] + 0.05  # the bars' influence ends half a cell from them


def test_boxes_are_scaled_to_the_frame_and_fractions_are_cut_off():
    assert frame_boxes([(10, 20, 499, 374), (0, 0, 500, 375)], 500, 375).tolist() == [
        [4, 11, 223, 223],  # 4.48, 11.95, 223.55, 223.4
        [0, 0, 224, 224],
    ]


def test_iou_counts_the_last_pixels():
    first = np.array([[0, 0, 1, 1], [5, 5, 5, 5]])
    second = np.array([[1, 1, 2, 2], [0, 0, 0, 0]])
    np.testing.assert_allclose(inclusive_iou(first, second), [[1 / 7, 1 / 4], [0, 0]])


def test_the_box_of_a_region_ends_behind_its_last_pixel_but_inside_the_frame():
    boxes, _ = contour_boxes(painted((10, 20, 31, 51, 0.5)), 0)
    assert boxes.tolist() == [[10, 20, 31, 51]]
    boxes, _ = contour_boxes(painted((200, 100, SIDE, SIDE, 0.5)), 0)
    assert boxes.tolist() == [[200, 100, SIDE - 1, SIDE - 1]]


def test_only_values_above_the_cut_are_kept():
    scores = painted((0, 0, 50, 50, 100.9 / 255), (5, 5, 9, 9, 1))  # 100.9 becomes 100
    assert contour_boxes(scores, 99)[0].tolist() == [[0, 0, 50, 50]]
    assert contour_boxes(scores, 100)[0].tolist() == [[5, 5, 9, 9]]


def test_holes_have_boxes_too_and_the_largest_contour_is_that_of_most_area():
    ring = painted((20, 20, 121, 121, 1), (40, 40, 101, 101, 0), (150, 150, 220, 160, 1))
    boxes, largest = contour_boxes(ring, 0)
    assert sorted(boxes.tolist()) == [[20, 20, 121, 121], [39, 39, 102, 102], [150, 150, 220, 160]]
    assert boxes[largest].tolist() == [20, 20, 121, 121]


def test_the_largest_contour_is_measured_by_its_area_not_by_its_pixels():
    """A thin frame encloses more than a block with more pixels."""
    scores = painted((10, 10, 60, 60, 1), (11, 11, 59, 59, 0), (100, 100, 140, 140, 1))
    boxes, largest = contour_boxes(scores, 0)
    assert boxes[largest].tolist() == [10, 10, 60, 60]


def test_scores_at_the_cuts_equal_values_worked_out_by_hand():
    """A hot block inside a warm one, and a separate block: the boxes change at the cuts 51 and 153."""
    scores = painted((0, 0, 100, 100, 0.2), (20, 20, 60, 60, 1), (150, 150, 200, 200, 0.6))
    true = np.array([[20, 20, 59, 59], [150, 150, 200, 200]])
    largest, best = ious_of_cuts(boxes_of_cuts(scores), true)
    tight = 1600 / 1681  # 40 x 40 pixels of 41 x 41
    wide = 40 * 40 / 101**2
    # The value 0.2 * 255 is 51, so it is above the cuts 0 to 50; 0.6 is 153.
    np.testing.assert_allclose(largest[:51], wide)
    np.testing.assert_allclose(best[:51], 1)  # the separate block
    np.testing.assert_allclose(largest[51:153], 1)  # of 50 x 50, so larger than the hot one
    np.testing.assert_allclose(best[51:153], 1)
    np.testing.assert_allclose(largest[153:], tight)
    np.testing.assert_allclose(best[153:], tight)


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), st.integers(2, 9))
def test_the_cuts_stand_for_all_thousand_thresholds_of_the_protocol(seed, side):
    random = np.random.default_rng(seed)
    scores = score_map(random.normal(size=(side, side)))
    corners = random.integers(0, SIDE // 2, (2, 2))
    true = np.concatenate([corners, corners + random.integers(1, SIDE // 2, (2, 2))], axis=1)
    largest, best = ious_of_cuts(boxes_of_cuts(scores), true)
    expected = [protocol_at(scores, true, threshold) for threshold in np.arange(0, 1, 0.001)[::7]]
    cuts = [int(threshold * 255) for threshold in np.arange(0, 1, 0.001)[::7]]
    np.testing.assert_array_equal(np.stack([largest[cuts], best[cuts]], axis=1), expected)


def protocol_at(scores, true_boxes, threshold):
    """Twin: the two IoUs at one threshold, step by step, with loops over boxes."""
    grey = (scores * 255).astype(np.uint8)
    above = np.where(grey > int(threshold * grey.max()), 255, 0).astype(np.uint8)
    contours = cv2.findContours(above, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0]
    ious, areas = [], []
    for contour in contours:
        x, y, width, height = cv2.boundingRect(contour)
        x1, y1 = min(x + width, SIDE - 1), min(y + height, SIDE - 1)
        areas.append(cv2.contourArea(contour))
        ious.append(max(pixels_iou((x, y, x1, y1), box) for box in true_boxes))
    return ious[int(np.argmax(areas))], max(ious)


def pixels_iou(first, second):
    """Twin: count the pixels of both boxes."""
    counts = np.zeros((SIDE + 1, SIDE + 1), int)
    for x0, y0, x1, y1 in (first, second):
        counts[y0 : y1 + 1, x0 : x1 + 1] += 1
    return (counts == 2).sum() / (counts > 0).sum()


def test_accuracy_uses_one_threshold_for_all_images():
    ious = [[0.9, 0.6, 0.1], [0.2, 0.5, 0.7], [0.0, 0.4, 0.8]]
    assert max_box_acc(ious) == pytest.approx(2 / 3)  # not 1, of the best threshold of each image
    assert max_box_acc(ious, 0.75) == pytest.approx(1 / 3)
    assert max_box_acc(ious, 0.95) == 0
    # 0.3: (1, 3, 2) of 3 at the three thresholds; 0.5: (1, 2, 2); 0.7: (1, 0, 2)
    assert max_box_acc_v2(ious) == pytest.approx((3 + 2 + 2) / 9)


def test_histograms_count_each_pixel_once_at_its_place():
    scores = painted((0, 0, 10, 1, 1.0), (10, 0, 14, 1, 0.0015), (14, 0, 15, 1, 0.9995))
    mask = np.zeros((SIDE, SIDE), bool)
    mask[0, :12] = True
    inside, outside = pixel_histograms(scores, mask)
    assert (inside.sum(), outside.sum(), len(inside)) == (12, SIDE * SIDE - 12, BINS)
    assert (inside[1000], inside[1], outside[1], outside[999]) == (10, 2, 2, 1)
    ignored = np.zeros((SIDE, SIDE), bool)
    ignored[0] = True  # pixels of the object count all the same
    inside, outside = pixel_histograms(scores, mask, ignored)
    assert (inside.sum(), outside.sum()) == (12, SIDE * SIDE - SIDE)


def test_masks_are_resized_by_the_nearest_pixel():
    mask = np.zeros((2, 4), bool)
    mask[0, 1] = True
    inside, _ = pixel_histograms(np.zeros((SIDE, SIDE)), mask)
    assert inside.sum() == SIDE * SIDE / 8


def test_average_precision_equals_a_value_worked_out_by_hand():
    """Four pixels: values 0.9 (object), 0.7 (not), 0.5 (object), 0.1 (not)."""
    histograms = np.zeros((2, BINS), int)
    histograms[0, 900] = histograms[0, 500] = histograms[1, 700] = histograms[1, 100] = 1
    assert pixel_average_precision(histograms) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    several = np.stack([histograms, histograms[::-1]])
    np.testing.assert_allclose(pixel_average_precision(several), [5 / 6, 0.5 * 1 / 2 + 0.5 * 2 / 4])
    assert np.isnan(pixel_average_precision(np.zeros((2, BINS))))


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_average_precision_equals_that_of_scikit_learn(seed):
    """On values in the middle of bins, so that both have the same thresholds."""
    random = np.random.default_rng(seed)
    scores = (random.integers(0, 40, (SIDE, SIDE)) * 25 + 0.5) / 1000
    mask = random.random((SIDE, SIDE)) < scores
    mask[0, 0] = True
    precision, recall, _ = precision_recall_curve(mask.ravel(), scores.ravel())
    expected = -np.sum(np.diff(recall) * precision[:-1])
    assert pixel_average_precision(pixel_histograms(scores, mask)) == pytest.approx(expected)
