"""Place of the object in an image, from boxes or masks, or estimated from its pixels alone.

The estimate must not come from the model: a mark that the model uses would count as the object.
"""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from camrt.images import Image
from camrt.runtime.audit.regions import region_mask

Mask = NDArray[np.bool_]
_SIDE: Final = 64
_MARGIN: Final = 0.06
"""Share of each side that is taken as background to begin with."""
_SHARES: Final = (0.04, 0.75)
"""Shares of the image that an estimate may have; else an ellipse in the centre is used."""
_PLAIN_SHARE: Final = 0.7
"""Share of the border that has one colour where the background is plain."""
_PLAIN_DISTANCE: Final = 6.0
"""Distance in OpenCV's 8-bit Lab up to which colours are one."""
_FILLED: Final = 0.93
"""Share of its bounding box that an object on a plain background fills at most."""
_FRAME_SHARE: Final = 0.95
"""Share of a line at the edge that has one colour in a frame."""
_FRAME_MARGIN: Final = 1
"""Pixels inside a frame that are left out: they mix both."""
_LEAST_INSIDE: Final = 16
"""Rows and columns inside a frame at least."""
_DIRECTIONS: Final = 8
_ROUNDS: Final = 2


def central_ellipse(height: int, width: int, radius: float = 0.36) -> Mask:
    """Return an ellipse in the centre: bool (height, width); ``radius``: fraction of the sides."""
    y, x = np.mgrid[:height, :width]
    ellipse: Mask = ((x + 0.5) / width - 0.5) ** 2 + ((y + 0.5) / height - 0.5) ** 2 <= radius**2
    return ellipse


def estimate_foreground(image: Image) -> tuple[Mask, bool]:
    """Return the likely place of the object: bool (H, W), and whether it is certain: the background is plain.

    GrabCut separates the border's colours from others (Rother et al. 2004). The part that covers most of the centre
    counts: objects are there in most photos.

    Args:
        image: uint8 (H, W, 3) BGR.
    """
    height, width = image.shape[:2]
    if (inner := _inside_frame(image)) is not None:
        mask = np.zeros((height, width), bool)
        mask[inner], certain = estimate_foreground(image[inner])
        return mask, certain
    small = np.asarray(cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA), np.uint8)
    labels = np.full((_SIDE, _SIDE), cv2.GC_PR_FGD, np.uint8)
    edge = max(1, round(_MARGIN * _SIDE))
    labels[:edge] = labels[-edge:] = cv2.GC_BGD
    labels[:, :edge] = labels[:, -edge:] = cv2.GC_BGD
    if (plain := _on_plain_background(small)) is not None:
        return np.asarray(cv2.resize(plain, (width, height), interpolation=cv2.INTER_NEAREST) > 0), True
    cv2.setRNGSeed(0)  # GrabCut begins with random clusters of colours
    try:
        cv2.grabCut(small, labels, None, np.zeros((1, 65)), np.zeros((1, 65)), _ROUNDS, cv2.GC_INIT_WITH_MASK)  # type: ignore[call-overload]
    except cv2.error:  # an image of one colour
        return central_ellipse(height, width), False
    inside = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    inside = np.asarray(cv2.morphologyEx(inside, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)), np.uint8)
    _, parts = cv2.connectedComponents(inside)
    middle = parts[_SIDE // 4 : -_SIDE // 4, _SIDE // 4 : -_SIDE // 4]
    counts = np.bincount(middle.ravel())
    counts[0] = 0
    if not counts.any():
        return central_ellipse(height, width), False
    part = (parts == counts.argmax()).astype(np.uint8)
    part = cv2.dilate(part, np.ones((3, 3), np.uint8))
    if not _SHARES[0] <= part.mean() <= _SHARES[1]:
        return central_ellipse(height, width), False
    return np.asarray(cv2.resize(part, (width, height), interpolation=cv2.INTER_NEAREST) > 0), False


def _on_plain_background(image: Image) -> NDArray[np.uint8] | None:
    """Return the pixels that differ from the border's colour: uint8 (H, W), 0 or 1; None: the border has no one colour.

    The object may touch the border, as fruits do that fill their photo. What it encloses belongs to it: a drawing has
    the background's colour inside its outline.
    """
    colours = cv2.cvtColor(image, cv2.COLOR_BGR2LAB).astype(np.float64)
    ring = region_mask("border", *image.shape[:2])
    distance = np.linalg.norm(colours - np.median(colours[ring], axis=0), axis=2)
    if (distance[ring] < _PLAIN_DISTANCE).mean() < _PLAIN_SHARE:
        return None
    inside = np.asarray(distance >= _PLAIN_DISTANCE, np.uint8)
    inside = np.asarray(cv2.morphologyEx(inside, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8)), np.uint8)
    _, rest = cv2.connectedComponents(1 - inside, connectivity=4)
    outer = set(rest[[0, 0, -1, -1], [0, -1, 0, -1]].tolist())
    inside[~np.isin(rest, list(outer - {0}))] = 1
    _, parts = cv2.connectedComponents(inside)
    counts = np.bincount(parts.ravel(), minlength=2)
    counts[0] = 0
    part = np.asarray(parts == counts.argmax(), np.uint8)
    if counts.max() < _SHARES[0] * part.size:
        return None
    _, _, wide, tall = cv2.boundingRect(part)
    if part.sum() > _FILLED * wide * tall:  # a picture in a frame
        return None
    return np.asarray(cv2.dilate(part, np.ones((5, 5), np.uint8)), np.uint8)


def _inside_frame(image: Image) -> tuple[slice, slice] | None:
    """Return the rows and columns inside a frame of one colour; None: there is no frame.

    A frame has its colour on all four sides, and ends at a straight line.
    """
    height, width = image.shape[:2]
    colours = cv2.cvtColor(image, cv2.COLOR_BGR2LAB).astype(np.float64)
    ring = np.concatenate([colours[0], colours[-1], colours[:, 0], colours[:, -1]])
    like = np.linalg.norm(colours - np.median(ring, axis=0), axis=2) < _PLAIN_DISTANCE
    rows, columns = (like.mean(axis=axis) >= _FRAME_SHARE for axis in (1, 0))
    edges = [_run(some) for some in (rows, rows[::-1], columns, columns[::-1])]
    if min(edges) < 1 or edges[0] + edges[1] > height // 2 or edges[2] + edges[3] > width // 2:
        return None
    top, bottom, left, right = (one + _FRAME_MARGIN for one in edges)
    if height - top - bottom < _LEAST_INSIDE or width - left - right < _LEAST_INSIDE:
        return None
    # Beyond a frame most of a line differs; a plain background goes on there.
    lines = like[edges[0] + 1], like[height - edges[1] - 2], like[:, edges[2] + 1], like[:, width - edges[3] - 2]
    if max(float(one.mean()) for one in lines) > 1 - _PLAIN_SHARE:
        return None
    return slice(top, height - bottom), slice(left, width - right)


def _run(flags: NDArray[np.bool_]) -> int:
    return int(flags.argmin()) if not flags.all() else len(flags)


def describe_background(image: Image, mask: Mask) -> NDArray[np.float64]:
    """Return the texture outside an object: the energy of edges in 8 directions and 2 scales, float64 (16,).

    Args:
        image: uint8 (H, W, 3) BGR.
        mask: the object's place, bool (H, W).
    """
    small = cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    outside = cv2.resize(mask.astype(np.uint8), (_SIDE, _SIDE), interpolation=cv2.INTER_NEAREST) == 0
    if outside.mean() < _MARGIN:
        outside = np.ones((_SIDE, _SIDE), bool)
    values: list[float] = []
    grey = np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), np.float32)
    for one in (grey, cv2.GaussianBlur(grey, (0, 0), 2.0)):
        across, down = cv2.Sobel(one, cv2.CV_32F, 1, 0), cv2.Sobel(one, cv2.CV_32F, 0, 1)
        direction = np.floor(np.mod(np.arctan2(down, across), np.pi) * (_DIRECTIONS / np.pi)).astype(int)
        strength = np.hypot(across, down)[outside]
        energy = np.bincount(direction[outside].clip(0, _DIRECTIONS - 1), strength, _DIRECTIONS) / outside.sum()
        values += np.sqrt(energy).tolist()
    return np.array(values, np.float64)
