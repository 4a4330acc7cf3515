"""Metrics of localization by maps, as the field measures them: MaxBoxAcc, MaxBoxAccV2 and PxAP.

Source: Choe et al. 2020, arXiv:2001.07437, section 3.3, with every rounding of their published evaluation: the numbers
can stand beside those of papers. Everything happens in a square frame of `SIDE` pixels. A **cut** is a number n from 0
to 254: pixels are kept whose map value, from 0 to 255, is above n.
"""

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from camrt.kernels.map_metrics import F64, Map

SIDE: Final = 224
"""Pixels of each side of the frame in which maps, boxes and masks are compared."""
CUTS: Final = 255
"""Number of cuts. They stand for all thresholds of the protocol, 0 to 0.999 of the map's maximum in steps of 0.001:
the map has 256 values, so thresholds between two of them keep the same pixels."""
IOUS: Final = (0.3, 0.5, 0.7)
"""The IoU from which on a box is right: MaxBoxAccV2 is the mean over these."""
_EDGES: Final = np.append(np.arange(0, 1, 0.001), [1.0, 2.0, 3.0])
"""Edges of the bins of map values for PxAP."""
BINS: Final = len(_EDGES) - 1

Rect = tuple[float, float, float, float]


def score_map(cam: Map, frame_rect: Rect = (0.0, 0.0, 1.0, 1.0), input_rect: Rect = (0.0, 0.0, 1.0, 1.0)) -> F64:
    """Enlarge a map to the square frame, bicubically, and scale it to [0, 1] afterwards.

    Args:
        cam: (h, w), not normalised.
        frame_rect: (x0, y0, x1, y1) in fractions of the frame, the part that the map shows. The other pixels get the
            least value.
        input_rect: (u0, v0, u1, v1) in fractions of the map, the part that lies in ``frame_rect``.

    Returns: float64 (SIDE, SIDE); zeros for a map that is constant or has NaN.
    """
    x0, y0, x1, y1 = (round(SIDE * edge) for edge in frame_rect)
    x1, y1 = max(x1, x0 + 1), max(y1, y0 + 1)
    u0, v0, u1, v1 = input_rect
    wide, high = max(1, round((x1 - x0) / (u1 - u0))), max(1, round((y1 - y0) / (v1 - v0)))
    whole = cv2.resize(np.asarray(cam, np.float64), (wide, high), interpolation=cv2.INTER_CUBIC)
    left, top = min(round(u0 * wide), wide - (x1 - x0)), min(round(v0 * high), high - (y1 - y0))
    part = whole[top : top + y1 - y0, left : left + x1 - x0]
    scores = np.zeros((SIDE, SIDE), np.float64)
    # The map itself is compared: bicubic weights do not add up to 1, so a constant map would become a pattern of noise.
    if np.isfinite(part).all() and np.ptp(cam) > 0 and np.ptp(part) > 0:
        part = part - part.min()
        scores[y0:y1, x0:x1] = part / part.max()
    return scores


def frame_boxes(boxes: ArrayLike, width: float, height: float) -> NDArray[np.int64]:
    """Return boxes (n, 4) of an image of ``width`` x ``height`` in the square frame: scaled, fractions cut off."""
    scale = np.array([width, height, width, height], np.float64)
    return np.trunc(np.asarray(boxes, np.float64).reshape(-1, 4) * SIDE / scale).astype(np.int64)


def inclusive_iou(first: NDArray[np.int64], second: NDArray[np.int64]) -> F64:
    """Return the intersection over union of all pairs of boxes, whose x1 and y1 belong to them.

    Args:
        first: (n, 4).
        second: (m, 4).

    Returns: (n, m), in [0, 1].
    """
    a, b = first[:, np.newaxis], second[np.newaxis]
    shared = np.maximum(0, np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]) + 1).prod(axis=-1)
    union = (a[..., 2:] - a[..., :2] + 1).prod(axis=-1) + (b[..., 2:] - b[..., :2] + 1).prod(axis=-1) - shared
    return np.asarray(np.divide(shared, union, out=np.zeros(union.shape), where=union > 0))


def contour_boxes(scores: F64, cut: int) -> tuple[NDArray[np.int64], int]:
    """Return the boxes around the contours of the pixels above a cut, those of holes too, and the largest one's index.

    Args:
        scores: (SIDE, SIDE) from `score_map`.
        cut: from 0 to 254.

    Returns: int64 (n, 4), at least one: (0, 0, 0, 0) if no pixel is above. x1 and y1 are behind the contour, except at
    the frame's edge, where they are its last pixel. The largest is the one whose contour encloses most.
    """
    return _contour_boxes((scores * 255).astype(np.uint8), cut)


def _contour_boxes(values: NDArray[np.uint8], cut: int) -> tuple[NDArray[np.int64], int]:
    _, above = cv2.threshold(values, cut, 255, cv2.THRESH_BINARY)
    contours, _ = cv2.findContours(above, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    if not contours:
        return np.zeros((1, 4), np.int64), 0
    largest = max(range(len(contours)), key=lambda index: cv2.contourArea(contours[index]))
    boxes = np.array([cv2.boundingRect(contour) for contour in contours], np.int64)
    boxes[:, 2:] = np.minimum(boxes[:, :2] + boxes[:, 2:], SIDE - 1)
    return boxes, largest


def boxes_of_cuts(scores: F64) -> list[tuple[NDArray[np.int64], int]]:
    """Return `contour_boxes` of each cut, in order: a list of `CUTS`."""
    values = (scores * 255).astype(np.uint8)
    return [_contour_boxes(values, cut) for cut in range(CUTS)]


def ious_of_cuts(boxes: Sequence[tuple[NDArray[np.int64], int]], true_boxes: NDArray[np.int64]) -> tuple[F64, F64]:
    """Return the greatest IoU with a true box at each cut: of the largest contour's box, and of any contour's box.

    Args:
        boxes: as `boxes_of_cuts` returns it.
        true_boxes: (m, 4), from `frame_boxes`; at least one.

    Returns: float64 (CUTS,) each, for MaxBoxAcc and for MaxBoxAccV2.
    """
    ious = inclusive_iou(np.concatenate([some for some, _ in boxes]), true_boxes).max(axis=1)
    counts = [len(some) for some, _ in boxes]
    begins = np.concatenate(([0], np.cumsum(counts)[:-1]))
    largest = ious[begins + np.array([index for _, index in boxes])]
    return np.asarray(largest), np.asarray(np.maximum.reduceat(ious, begins))


def max_box_acc(ious: ArrayLike, least_iou: float = 0.5) -> float:
    """Return MaxBoxAcc: the share of images whose box is right, at the threshold that is best over all images.

    Args:
        ious: (N, T), for each image and threshold the IoU of the box of the largest region.
        least_iou: from which IoU on a box is right.
    """
    return float((np.asarray(ious) >= least_iou).mean(axis=0).max())


def max_box_acc_v2(ious: ArrayLike) -> float:
    """Return MaxBoxAccV2: the mean of `max_box_acc` over `IOUS`, each at its own threshold.

    Args:
        ious: (N, T), for each image and threshold the greatest IoU of the box of any region. So a map is not penalised
            for boxes beside the object.
    """
    return float(np.mean([max_box_acc(ious, least_iou) for least_iou in IOUS]))


def pixel_histograms(
    scores: F64, mask: NDArray[np.bool_], ignored: NDArray[np.bool_] | None = None
) -> NDArray[np.int64]:
    """Return how many pixels have which map value: on the object, and beside it.

    Args:
        scores: (SIDE, SIDE) from `score_map`.
        mask: (H, W), True on the object; it is resized to the square frame by the nearest pixel.
        ignored: (H, W), True where pixels do not count; None: nowhere.

    Returns: int64 (2, BINS), bins by value from 0 to 1 in steps of 0.001, and two that are above.
    """
    inside = _in_frame(mask)
    outside = ~inside if ignored is None else ~inside & ~_in_frame(ignored)
    return np.stack([np.histogram(scores[part], bins=_EDGES)[0] for part in (inside, outside)])


def _in_frame(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    resized = cv2.resize(mask.astype(np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
    return np.asarray(resized, np.bool_)


def pixel_average_precision(histograms: ArrayLike) -> F64:
    """Return PxAP: the area below precision over recall of the pixels, with the bins' edges as thresholds.

    Args:
        histograms: (..., 2, BINS), from `pixel_histograms`, added up over the images.

    Returns: float64 (...), in [0, 1]; NaN without a pixel on an object.
    """
    above = np.cumsum(np.asarray(histograms, np.float64)[..., ::-1], axis=-1)
    hits, all_above = above[..., 0, :], above.sum(axis=-2)
    with np.errstate(invalid="ignore"):
        recall = hits / hits[..., -1:]
    precision = np.divide(hits, all_above, out=np.zeros_like(hits), where=all_above > 0)
    return np.asarray((precision[..., 1:] * np.diff(recall, axis=-1)).sum(axis=-1))
