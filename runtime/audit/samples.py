"""Images of an audit: classes, maps, pooled features and properties of each, in bounded memory."""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from camrt.errors import SourceError, UsageError
from camrt.images import Image, decode_image
from camrt.kernels import Box
from camrt.progress import Progress
from camrt.runtime.audit.duplicates import difference_hash
from camrt.runtime.audit.foreground import Mask, estimate_foreground
from camrt.runtime.audit.properties import PROPERTIES, measure
from camrt.runtime.collect.rows import quantize_map
from camrt.runtime.evaluation.class_matching import check_matching, match_classes
from camrt.runtime.evaluation.datasets.labelled import Dataset, LabelledImage, Target
from camrt.runtime.evaluation.scoring import best_class, truth_of
from camrt.runtime.inference.model import Model
from camrt.runtime.maps.result import Result

_PROGRESS_AFTER_S: Final = 2.0
_NAMED: Final = 5
PLACE_SIDE: Final = 16
"""Rows and columns of the grid of `Samples.places`."""
_NOW_AND_THEN: Final = 0.1
OBJECT_SIDE: Final = 64
"""Rows and columns of the grid on which a map is compared with the object's place."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Classified images. N images, a map of h x w cells each, C features of a linear head."""

    sources: Sequence[LabelledImage]
    """The images, whose pixels are read again for an experiment."""
    targets: Sequence[Target]
    """The object of each image that counts."""
    classes: NDArray[np.intp]
    """(N,) true class."""
    predicted: NDArray[np.intp]
    """(N,)."""
    scores: NDArray[np.float32]
    """(N,) of the true class."""
    predicted_scores: NDArray[np.float32]
    """(N,)."""
    maps: NDArray[np.uint8]
    """(N, h, w): map of the true class, in 256 levels from its lowest to its highest value."""
    lows: NDArray[np.float32]
    """(N,), in logits per cell."""
    highs: NDArray[np.float32]
    """(N,)."""
    pooled: NDArray[np.float16] | None
    """(N, C); None: the head is not linear."""
    properties: NDArray[np.float32]
    """(N, len(PROPERTIES))."""
    on_object: NDArray[np.float32]
    """(N,) share of the positive map on the object; NaN: the map has no positive value."""
    certain: NDArray[np.bool_]
    """(N,) the place of the object is stated, or the background is plain."""
    places: NDArray[np.uint8]
    """(N, PLACE_SIDE**2 / 8) place of the object on a coarse grid, see `pack_place`."""
    hashes: NDArray[np.uint64]
    """(N,), see `difference_hash`."""
    contents: Sequence[bytes]
    """SHA-1 of each file."""
    looked: NDArray[np.bool_]
    """(N,) the pixels were read; only such images take part in experiments. Of a store of maps few are."""
    sizes: NDArray[np.intp]
    """(N, 2) width and height of each image in pixels."""
    boxes: Sequence[Sequence[Box]]
    """Boxes around the warm regions of each map, see `camrt.runtime.maps.result.Result.boxes`."""
    placed: bool
    """The data state the places of the objects; False: they are estimated."""
    remarks: Sequence[str]

    @property
    def names(self) -> list[str]:
        """Names of the images, for reports."""
        return [source.name for source in self.sources]

    def positive_map(self, number: int) -> NDArray[np.float32]:
        """Return the positive part of an image's map: float32 (h, w), in logits per cell."""
        low, high = float(self.lows[number]), float(self.highs[number])
        return np.asarray(np.maximum(self.maps[number] * ((high - low) / 255) + low, 0), np.float32)

    def usual_places(self, class_id: int) -> NDArray[np.bool_]:
        """Return the cells in which objects of other classes lie now and then: bool (PLACE_SIDE, PLACE_SIDE).

        All are True where no place is certain. A mark of one class that touches its objects is not among them.
        """
        others = self.certain & (self.classes != class_id)
        if not others.any():
            return np.ones((PLACE_SIDE, PLACE_SIDE), bool)
        shares = np.unpackbits(self.places[others], axis=1).mean(axis=0)
        return np.asarray(shares.reshape(PLACE_SIDE, PLACE_SIDE) >= _NOW_AND_THEN)

    def of_class(self, class_id: int) -> NDArray[np.intp]:
        """Return the numbers of a class's images."""
        return np.flatnonzero(self.classes == class_id)

    def own(self, class_id: int) -> NDArray[np.intp]:
        """Return the numbers of a class's images that take part in experiments."""
        return np.flatnonzero((self.classes == class_id) & self.looked)

    def others(self, class_id: int, without: Collection[int] = ()) -> NDArray[np.intp]:
        """Return the numbers of other classes' images that take part in experiments, without those of some classes."""
        return np.flatnonzero((self.classes != class_id) & ~np.isin(self.classes, list(without)) & self.looked)


def read_samples(model: Model, dataset: Dataset) -> Samples:
    """Classify the images of a dataset. The pixels of one image at a time are in memory.

    Images that cannot be read are left out, with a line in the remarks. An image with objects of several classes counts
    for the first.

    Raises:
        UsageError: the model knows no class of the data, or no image can be classified.
    """
    matching = match_classes(dataset, model.labels)
    remarks = [*dataset.remarks, *check_matching(matching, dataset, model.path.name, allow_unmatched=True)]
    known = []
    several = unlabelled = 0
    for image in dataset.images:
        ids = [(target, numbers) for target in image.targets if (numbers := matching.class_ids(target))]
        several += len(ids) > 1
        unlabelled += not image.targets
        if ids:
            known.append((image, *ids[0]))
    if several:
        remarks.append(f"{several} images have objects of several classes; the first one counts")
    if unlabelled:
        remarks.append(f"left out: {unlabelled} images without a class")
    columns = _Columns(model, dataset)
    broken: list[str] = []
    with closing(Progress(len(known), "images", after_s=_PROGRESS_AFTER_S)) as progress:
        for image, target, numbers in known:
            try:
                columns.add(image, target, numbers)
            except SourceError as error:
                broken.append(str(error))
            progress.step()
    remarks += [f"left out: {reason}" for reason in broken[:_NAMED]]
    if len(broken) > _NAMED:
        remarks.append(f"left out: {len(broken) - _NAMED} more images that cannot be read")
    return columns.samples(remarks)


def file_bytes(labelled: LabelledImage) -> bytes:
    """Return the content of an image's file; empty for an array. Raises: SourceError."""
    if labelled.problem:
        raise SourceError(labelled.problem)
    if not isinstance(labelled.image, Path):
        return b""
    if labelled.image.exists() and not labelled.image.is_file():
        raise SourceError(f"{labelled.image} is no regular file")  # a pipe or a device would never end
    try:
        return labelled.image.read_bytes()
    except OSError as error:
        raise SourceError(f"{labelled.image} cannot be read: {error.strerror}") from error


def pixels(labelled: LabelledImage, data: bytes) -> Image:
    """Return an image, uint8 (H, W, 3) BGR, from the content of its file. Raises: SourceError."""
    return decode_image(data, str(labelled.image)) if isinstance(labelled.image, Path) else labelled.image


def object_mask(labelled: LabelledImage, target: Target, image: Image) -> tuple[Mask, bool]:
    """Return the place of an object: its mask, its boxes, or an estimate: bool (H, W), and whether it is certain.

    Raises: SourceError: the annotation does not fit the image.
    """
    from camrt.kernels.map_metrics import mask_of_boxes

    truth = truth_of(labelled, target, image)
    if truth.mask is not None:
        return truth.mask, True
    height, width = image.shape[:2]
    if truth.boxes:
        return np.asarray(mask_of_boxes(truth.boxes, width, height)), True
    return estimate_foreground(image)


class _Columns:
    """Values of the images that were classified so far."""

    def __init__(self, model: Model, dataset: Dataset) -> None:
        self._model = model
        self._placed = any(target.boxes or target.masks for image in dataset.images for target in image.targets)
        self._rows: list[tuple[Any, ...]] = []
        self._pooled: list[NDArray[np.float16]] = []
        self._odd = 0

    def add(self, labelled: LabelledImage, target: Target, class_ids: Sequence[int]) -> None:
        """Classify an image. Raises: SourceError: it cannot be read."""
        data = file_bytes(labelled)
        image = pixels(labelled, data)
        result = self._model(image)
        own = best_class(result, class_ids)
        cam = result.visible_cam(own)
        if not (np.isfinite(cam).all() and np.isfinite(result.logits).all()):
            raise SourceError(f"{labelled.name}: its map has values that are not finite; check the model file")
        content, low, high = quantize_map(cam)
        mask, certain = object_mask(labelled, target, image)
        self._rows.append(
            (
                labelled,
                target,
                own,
                result.class_id,
                result.scores[own],
                result.scores[result.class_id],
                np.frombuffer(content, np.uint8).reshape(cam.shape),
                low,
                high,
                measure(image, data, mask if certain else None).astype(np.float32),
                share_on_object(result, own, mask),
                certain,
                pack_place(mask),
                difference_hash(image),
                hashlib.sha1(data, usedforsecurity=False).digest() if data else b"",
                (image.shape[1], image.shape[0]),
                result.boxes(own),
            )
        )
        if self._model.head == "linear":
            pooled = result.decoder.decoded(result.maps).mean(axis=(1, 2), dtype=np.float32)
            self._pooled.append(np.clip(pooled, -65504, 65504).astype(np.float16))

    def samples(self, remarks: Sequence[str]) -> Samples:
        """Return all of them. Raises: UsageError: there are none."""
        if not self._rows:
            raise UsageError("; ".join(["there is no image to audit", *remarks[-2:]]))
        columns: Iterable[Any] = zip(*self._rows, strict=True)
        sources, targets, classes, predicted, scores, best, maps, *others = columns
        lows, highs, values, shares, certain, places, hashes, contents, sizes, boxes = others
        return Samples(
            sources=sources,
            targets=targets,
            classes=np.array(classes, np.intp),
            predicted=np.array(predicted, np.intp),
            scores=np.array(scores, np.float32),
            predicted_scores=np.array(best, np.float32),
            maps=np.stack(maps),
            lows=np.array(lows, np.float32),
            highs=np.array(highs, np.float32),
            pooled=np.stack(self._pooled) if self._pooled else None,
            properties=np.stack(values).reshape(-1, len(PROPERTIES)),
            on_object=np.array(shares, np.float32),
            certain=np.array(certain, bool),
            places=np.stack(places),
            hashes=np.array(hashes, np.uint64),
            contents=contents,
            looked=np.ones(len(classes), bool),
            sizes=np.array(sizes, np.intp).reshape(-1, 2),
            boxes=boxes,
            placed=self._placed,
            remarks=remarks,
        )


def look(samples: Samples, number: int, image: Image, data: bytes) -> None:
    """Enter what the pixels of an image show, which a store of maps does not have. Raises: SourceError."""
    mask, certain = object_mask(samples.sources[number], samples.targets[number], image)
    samples.properties[number] = measure(image, data, mask if certain else None)
    samples.certain[number] = certain
    samples.places[number] = pack_place(mask)
    samples.hashes[number] = difference_hash(image)
    samples.looked[number] = True


def pack_place(mask: Mask) -> NDArray[np.uint8]:
    """Return the cells of a grid of PLACE_SIDE x PLACE_SIDE that an object covers by half, 8 cells a byte."""
    import cv2

    cells = cv2.resize(mask.astype(np.float32), (PLACE_SIDE, PLACE_SIDE), interpolation=cv2.INTER_AREA)
    return np.packbits(cells.ravel() >= 0.5)


def share_on_object(result: Result, class_id: int, mask: Mask) -> float:
    """Return the share of a class's positive map that lies on an object, in [0, 1]; NaN: nothing is positive.

    Cells outside the object's frame, such as bars of a letterbox, do not count.
    """
    import cv2

    heat = cv2.resize(result.heatmap(class_id), (OBJECT_SIDE, OBJECT_SIDE), interpolation=cv2.INTER_AREA)
    if result.visible_cam(class_id).max() <= 0 or not heat.sum() > 0:
        return float("nan")
    inside = cv2.resize(mask.astype(np.float32), (OBJECT_SIDE, OBJECT_SIDE), interpolation=cv2.INTER_AREA)
    return float((heat * inside).sum() / heat.sum())
