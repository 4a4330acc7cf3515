"""Class that has a shortcut, where a model has two: what one class has, the other one lacks.

All experiments give the same flips for both. The class that loses more when the evidence is erased, or whose
colours are farther from grey, is the one that has it. If both lose much, it is the class whose images differ less.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from camrt.errors import SourceError
from camrt.images import Image
from camrt.runtime.audit.exchange import PATCH_SIDE, ImagePool
from camrt.runtime.audit.properties import COLOUR
from camrt.runtime.audit.regions import REGIONS, region_mask
from camrt.runtime.audit.shifts import Suspect

F64 = NDArray[np.float64]
_IMAGES: Final = 100
_ERASED: Final = 60
_CLEAR: Final = 1.5
"""Ratio of the losses of two classes above which the larger one decides."""
_STRONG: Final = 40
_CELLS: Final = 16
"""Rows and columns of an image whose regions are compared."""
_FEWEST: Final = 3
_BEST: Final = 2


def class_with_evidence(pool: ImagePool, suspects: Sequence[tuple[int, Suspect]]) -> int:
    """Return the class of a suspicion that holds for two classes.

    Args:
        pool: the images.
        suspects: the class and the suspicion as it was tested for it, strongest first.
    """
    weights = [_weight(pool, *one) for one in suspects]
    suspect = suspects[0][1]
    if suspect.kind in REGIONS and min(weights) * _CLEAR > max(weights):
        return min(suspects, key=lambda one: _deviation(pool, one[0], suspect.part))[0]
    return suspects[int(np.argmax(weights))][0]


def _weight(pool: ImagePool, class_id: int, suspect: Suspect) -> float:
    if suspect.exchange is None:
        colours = pool.samples.properties[pool.samples.own(class_id)][:, COLOUR].astype(np.float64).mean(axis=0)
        return float(np.abs(colours - colours.mean()).max()) if suspect.kind == "colour" else 0.0
    return float(np.mean(losses(pool, class_id, suspect)[1]))


def _deviation(pool: ImagePool, class_id: int, region: str) -> float:
    """Return the standard deviation of a region's pixels over the images of a class, as a mean of the pixels."""
    mask = region_mask(region, pool.model.geometry.height, pool.model.geometry.width)
    contents = _contents(lambda number: pool[number][0][mask].astype(np.float64).ravel(), pool.samples.own(class_id))
    return float(contents.std(axis=0).mean())


def losses(pool: ImagePool, class_id: int, suspect: Suspect) -> tuple[list[int], F64]:
    """Return images of a class, and how much of the margin of the class's logit each loses without the evidence.

    Returns: numbers of up to 60 images, and float64 logits.
    """
    numbers = np.random.default_rng(0).permutation(pool.samples.own(class_id))[:_ERASED]
    chosen, images = [], []
    for number in numbers.tolist():
        with suppress(SourceError):  # the file has gone since it was classified
            images += [pool[number][0], without_evidence(pool, suspect, number)]
            chosen.append(number)
    logits = pool.logits(images).astype(np.float64)
    margins = logits[:, class_id] - np.delete(logits, class_id, axis=1).max(axis=1)
    return chosen, margins[::2] - margins[1::2]


def without_evidence(pool: ImagePool, suspect: Suspect, number: int) -> Image:
    """Return an image at the network's size that has lost the evidence. Raises: SourceError."""
    if suspect.exchange is not None:
        return suspect.exchange.erase(number)
    assert suspect.shift is not None
    if suspect.shift.whole_file:
        return pool.fitted(suspect.shift.away(pool.full(number)))
    return suspect.shift.away(pool[number][0])


def alike_backgrounds(pool: ImagePool, class_id: int) -> float:
    """Return the likeness of the textures of a class's backgrounds, see `likeness`."""
    return likeness(*(_contents(pool.background, numbers) for numbers in _groups(pool, class_id)))


def alike_regions(pool: ImagePool, class_id: int, region: str) -> float:
    """Return the likeness of a class's images within a region, see `likeness`: a mark or a frame is the same in all."""
    cells = region_mask(region, _CELLS, _CELLS)

    def content(number: int) -> F64:
        small = cv2.resize(pool[number][0], (_CELLS, _CELLS), interpolation=cv2.INTER_AREA)
        return small[cells].astype(np.float64).ravel()

    return likeness(*(_contents(content, numbers) for numbers in _groups(pool, class_id)))


def alike_patches(pool: ImagePool, class_id: int, name: str) -> float:
    """Return how much better the warmest patches of a class match each other than those of other classes.

    It is the upper quartile of the difference of two normalised cross-correlations, with the two best patches of each
    group. A pattern that was made is nearly the same everywhere, natural objects differ. The half of the images with
    the most evidence is used.

    Args:
        pool: the images.
        class_id: the class.
        name: of `camrt.runtime.audit.exchange.PATCHES`.
    """
    own, others = (_patches(pool, class_id, name, numbers) for numbers in _groups(pool, class_id))
    count = min(len(own) - 1, len(others))
    if count < _FEWEST:
        return 0.0
    inner, outer = _matches(own, own), _matches(own, others[:count])
    np.fill_diagonal(inner, -1)
    best = (np.sort(some, axis=1)[:, -_BEST:].mean(axis=1) for some in (inner, outer))
    return float(np.percentile(next(best) - next(best), 75))


def spread_of_patches(pool: ImagePool, class_id: int, name: str) -> float:
    """Return how much the places of the warmest patches of a class differ, relative to the centres of the objects.

    A part of the object has nearly the same place on all objects, even where their places are estimates.

    Returns: the standard deviation as a fraction of the sides, mean of rows and columns; 0 without images.
    """
    places = []
    for number in np.random.default_rng(0).permutation(pool.samples.own(class_id))[: 2 * _STRONG].tolist():
        with suppress(SourceError):  # the file has gone since it was classified
            mask = pool[number][1]
            rows, columns = pool.spot(number, class_id, name).place
            centre = np.argwhere(mask).mean(axis=0) if mask.any() else np.array(mask.shape) / 2
            spot = np.array([rows.start + rows.stop, columns.start + columns.stop]) / 2
            places.append((spot - centre) / mask.shape)
    return float(np.std(places, axis=0).mean()) if places else 0.0


def _patches(pool: ImagePool, class_id: int, name: str, numbers: NDArray[np.intp]) -> list[NDArray[np.float32]]:
    patches = []
    for number in np.random.default_rng(0).permutation(numbers)[: 2 * _STRONG].tolist():
        with suppress(SourceError):  # the file has gone since it was classified
            evidence = pool.spot(number, class_id, name).evidence
            patches.append((-evidence, number, pool.patch(number, class_id, name).astype(np.float32)))
    return [patch for _, _, patch in sorted(patches, key=lambda one: one[:2])[: (len(patches) + 1) // 2]]


def _matches(first: Sequence[NDArray[np.float32]], second: Sequence[NDArray[np.float32]]) -> F64:
    """Return the best correlation of the centre of each patch with any part of each other one: (N, M)."""
    quarter = PATCH_SIDE // 4
    centres = [patch[quarter:-quarter, quarter:-quarter] for patch in first]
    return np.array(
        [[float(cv2.matchTemplate(patch, one, cv2.TM_CCOEFF_NORMED).max()) for patch in second] for one in centres]
    )


def _groups(pool: ImagePool, class_id: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    return pool.samples.own(class_id), pool.samples.others(class_id)


def _contents(content: Callable[[int], F64], numbers: NDArray[np.intp]) -> F64:
    contents = []
    for number in np.random.default_rng(0).permutation(numbers)[:_IMAGES]:
        try:
            contents.append(content(int(number)))
        except SourceError:  # the file has gone since it was classified
            continue
    return np.stack(contents) if contents else np.zeros((0, 1))


def likeness(own: F64, others: F64) -> float:
    """Return how much nearer the contents of a class are to each other than to those of other classes.

    It is the upper quartile of the log ratio of the two nearest distances: a mark that a part of the images has counts.

    Args:
        own: (N, D).
        others: (M, D).

    Returns: 0 for no difference; 0 for fewer than four images of either.
    """
    count = min(len(own) - 1, len(others))
    if count < _FEWEST:
        return 0.0
    spread = np.maximum(np.concatenate([own, others]).std(axis=0), 1e-9)
    own, others = own / spread, others[:count] / spread
    inside = _distances(own, own)
    np.fill_diagonal(inside, np.inf)
    # As many other images as own ones: the nearest of more is nearer.
    offset = 0.1 * np.sqrt(own.shape[1])
    ratios = np.log((_distances(own, others).min(axis=1) + offset) / (inside.min(axis=1) + offset))
    return float(np.percentile(ratios, 75))


def _distances(first: F64, second: F64) -> F64:
    squares = (first**2).sum(axis=1)[:, np.newaxis] + (second**2).sum(axis=1)
    return np.asarray(np.sqrt(np.maximum(squares - 2 * first @ second.T, 0)))
