"""Changes of images that carry suspected evidence from one image to another.

An experiment compares two of them: with a donor that has the evidence and with one that has not. Both disturb the
image alike, so that the difference is the evidence alone.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from camrt.geometry import Placement
from camrt.images import Image
from camrt.runtime.audit.foreground import Mask, describe_background
from camrt.runtime.audit.properties import light_colour, shift_colour
from camrt.runtime.audit.regions import region_mask
from camrt.runtime.audit.samples import Samples, file_bytes, object_mask, pixels
from camrt.runtime.inference.model import Model
from camrt.runtime.maps.result import Result

_CACHE_BYTES: Final = 192 << 20
_EDGE: Final = 0.06
_BLUR: Final = 0.12
"""Sigma of the blur of an erased part, as a fraction of the shorter side."""
PATCH_SIDE: Final = 32
"""Rows and columns of a patch that is compared with others."""
_LEAST_PATCH: Final = 0.3
"""Share of a patch that lies outside both objects at least."""
_LEAST_REGION: Final = 0.01
"""Share of the image that an exchange changes at least; less shows nothing."""


@dataclass(frozen=True, slots=True)
class Patch:
    """Size of a patch, as fractions of the image's rows and columns, and where it may lie."""

    tall: float
    wide: float
    anywhere: bool = False
    """It may lie on the object; False: outside of it only."""


PATCHES: Final = {
    "patch": Patch(0.3, 0.3),
    "wide patch": Patch(0.18, 0.5),  # a text is wide
    "patch anywhere": Patch(0.3, 0.3, anywhere=True),
    "wide patch anywhere": Patch(0.18, 0.5, anywhere=True),
}
"""Patches that are exchanged, by name."""


class ImagePool:
    """Images at the network's size, the places of their objects, and their warmest spots. Read again when needed."""

    def __init__(self, model: Model, samples: Samples) -> None:
        self.model = model
        self.samples = samples
        self.passes = 0
        """Forward passes so far."""
        size = model.geometry.width, model.geometry.height
        self._placement = Placement(*size, (0, 0, *size), (0.0, 0.0, 1.0, 1.0))
        self._images: OrderedDict[int, tuple[Image, Mask]] = OrderedDict()
        self._emptied: dict[int, Image] = {}
        self._spots: dict[tuple[int, int, str], Spot] = {}
        self._most = max(64, _CACHE_BYTES // (model.geometry.height * model.geometry.width * 4))

    def fixed(self, number: int) -> Mask:
        """Return the pixels that an exchange of parts leaves as they are: bool (height, width).

        These are the object's where its place is certain. An estimate may include the very mark: it counts only as far
        as objects of other classes lie there, too.

        Raises: SourceError: the file has changed since it was classified.
        """
        place = self[number][1]
        if not self.samples.certain[number]:
            return np.zeros_like(place)
        if self.samples.placed:
            return place
        usual = self.samples.usual_places(int(self.samples.classes[number])).astype(np.uint8)
        size = (place.shape[1], place.shape[0])
        return np.asarray(place & (cv2.resize(usual, size, interpolation=cv2.INTER_NEAREST) > 0))

    def full(self, number: int) -> Image:
        """Return an image as it is in its file: uint8 (H, W, 3) BGR. Raises: SourceError."""
        source = self.samples.sources[number]
        return pixels(source, file_bytes(source))

    def fitted(self, image: Image) -> Image:
        """Return an image as the network receives it: uint8 (height, width, 3) BGR."""
        return np.asarray(self.model.fitted([image])[0])

    def __getitem__(self, number: int) -> tuple[Image, Mask]:
        """Return an image as the network receives it, and the place of its object: bool (height, width).

        Raises: SourceError: the file has changed since it was classified.
        """
        if number not in self._images:
            image = self.full(number)
            mask, _ = object_mask(self.samples.sources[number], self.samples.targets[number], image)
            grey = np.repeat(mask[..., np.newaxis].astype(np.uint8) * 255, 3, axis=2)
            place = self.fitted(grey)[..., 0] > 127
            if self.samples.placed:  # resizing mixes the object's edge with the pixels around it
                place = cv2.dilate(place.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
            self._images[number] = self.fitted(image), place
            if len(self._images) > self._most:
                self._images.popitem(last=False)
        else:
            self._images.move_to_end(number)
        return self._images[number]

    def without_object(self, number: int) -> Image:
        """Return an image at the network's size, whose object is filled from its surroundings. Raises: SourceError."""
        if number not in self._emptied:
            if len(self._emptied) >= self._most:
                self._emptied.clear()
            self._emptied[number] = blurred(*self[number])
        return self._emptied[number]

    def light(self, number: int) -> NDArray[np.float64]:
        """Return the colour of an image's light, see `light_colour`. Raises: SourceError."""
        image, mask = self[number]
        return light_colour(image, mask if self.samples.certain[number] else None)

    def background(self, number: int) -> NDArray[np.float64]:
        """Return the texture outside the object, see `describe_background`. Raises: SourceError.

        The edge is left out: a frame does not make backgrounds alike.
        """
        image, mask = self[number]
        tall, wide = (round(_EDGE * side) for side in mask.shape)
        inside = slice(tall, mask.shape[0] - tall), slice(wide, mask.shape[1] - wide)
        return describe_background(image[inside], mask[inside])

    def logits(self, batch: list[Image]) -> NDArray[np.float32]:
        """Classify images at the network's size: float32 (N, K)."""
        return np.stack([one.logits for one in self.results(batch)])

    def results(self, batch: list[Image]) -> list[Result]:
        """Run the model on images at the network's size."""
        found: list[Result] = []
        for begin in range(0, len(batch), 16):
            part = np.stack(batch[begin : begin + 16])
            found += self.model.run_fitted(part, [self._placement] * len(part))
        self.passes += len(batch)
        return found

    def patch(self, number: int, class_id: int, name: str) -> Image:
        """Return the patch at `spot`: uint8 (PATCH_SIDE, PATCH_SIDE, 3) BGR. Raises: SourceError."""
        image = self[number][0]
        part = image[self.spot(number, class_id, name).place]
        return np.asarray(cv2.resize(part, (PATCH_SIDE, PATCH_SIDE), interpolation=cv2.INTER_AREA), np.uint8)

    def evidence(self, number: int, class_id: int) -> NDArray[np.float32]:
        """Return the map of a class minus the mean map of the others, over the network's input: float32 (H, W)."""
        image = self[number][0]
        result = self.model.run_fitted(image[np.newaxis], [self._placement])[0]
        self.passes += 1
        cams = result.visible_cams(range(self.model.classes))
        others = np.delete(cams, class_id, axis=0)
        evidence = cams[class_id] - (others.mean(axis=0) if len(others) else 0)
        size = (image.shape[1], image.shape[0])
        return np.asarray(cv2.resize(evidence, size, interpolation=cv2.INTER_LINEAR), np.float32)

    def spot(self, number: int, class_id: int, name: str) -> "Spot":
        """Return the place of a patch with the most evidence for a class, against the mean of all classes.

        Args:
            number: the image.
            class_id: the class.
            name: of `PATCHES`.
        """
        if (number, class_id, name) not in self._spots:
            mask, heat = self[number][1], self.evidence(number, class_id)
            mask = self.fixed(number) if self.samples.certain[number] else mask
            for one, patch in PATCHES.items():
                self._spots[number, class_id, one] = _warmest(heat, mask & (not patch.anywhere), patch)
        return self._spots[number, class_id, name]


@dataclass(frozen=True, slots=True)
class Spot:
    """A place of a patch."""

    place: tuple[slice, slice]
    """Rows and columns."""
    evidence: float
    """Mean evidence for the class there, in logits per cell."""


def _warmest(heat: NDArray[np.float32], mask: Mask, patch: Patch) -> Spot:
    height, width = mask.shape
    tall, wide = max(4, round(patch.tall * height)), max(4, round(patch.wide * width))
    outside = cv2.blur((~mask).astype(np.float32), (wide, tall), borderType=cv2.BORDER_REPLICATE)
    mean = cv2.blur(heat, (wide // 2 * 2 + 1, tall // 2 * 2 + 1), borderType=cv2.BORDER_REPLICATE)
    scored = np.where(outside >= min(0.5, float(outside.max())), mean, -np.inf)
    y, x = np.unravel_index(int(scored.argmax()), scored.shape)
    left = int(np.clip(x - wide // 2, 0, width - wide))
    top = int(np.clip(y - tall // 2, 0, height - tall))
    return Spot((slice(top, top + tall), slice(left, left + wide)), float(scored[y, x]))


Change = Callable[[int, int], Image | None]
"""(recipient, donor) -> image at the network's size; None: the change would show nothing."""
Prepare = Callable[[int, int], Image]
"""(recipient, donor) -> donor as it is copied."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A pair of changes for each direction. Donors with and without the evidence are chosen by their class."""

    add: Change
    remove: Change
    erase: Callable[[int], Image]
    """Return an image whose evidence is replaced by its blurred surroundings."""
    evidence: Callable[[int], float] | None = None
    """Evidence of an image at the place that is exchanged: of both classes, the half with the most of it is used. A
    pattern that few images have would otherwise be exchanged for nothing most times. None: any image is used."""


def region_exchange(pool: ImagePool, region: str, prepared: Prepare | None = None) -> Exchange:
    """Copy a region from the donor, except where one of both images has its object.

    The background is copied except where the recipient has its object; that of the donor is filled from its
    surroundings. Else the evidence would stay there.

    Args:
        pool: the images.
        region: a name of `camrt.runtime.audit.regions.REGIONS`.
        prepared: returns the donor as it is copied, at the network's size; None: unchanged.
    """
    height, width = pool.model.geometry.height, pool.model.geometry.width
    whole = region_mask(region, height, width)

    def change(recipient: int, donor: int) -> Image | None:
        (image, own), (other, others) = pool[recipient], pool[donor]
        if prepared is not None:
            other = prepared(recipient, donor)
        if region == "background":
            other = pool.without_object(donor) if prepared is None else blurred(other, others)
            mask = ~own
        else:
            mask = whole & ~pool.fixed(recipient) & ~pool.fixed(donor)
        if mask.mean() < _LEAST_REGION and mask.sum() < 0.5 * whole.sum():
            return None
        changed = image.copy()
        changed[mask] = other[mask]
        return changed

    def erase(number: int) -> Image:
        image, own = pool[number]
        return blurred(image, whole & ~own if region == "background" else whole, keep=region == "background")

    return Exchange(change, change, erase)


def in_same_light(pool: ImagePool) -> Prepare:
    """Return a change of donors: they get the colour of the recipient's light."""
    return lambda recipient, donor: shift_colour(pool[donor][0], pool.light(recipient) - pool.light(donor))


def blurred(image: Image, mask: Mask, *, keep: bool = False) -> Image:
    """Return an image with a part that shows the blurred rest of the image.

    Args:
        image: uint8 (H, W, 3).
        mask: the part, bool (H, W).
        keep: blur the part itself, which is too large to be filled from the rest.
    """
    sigma = _BLUR * min(mask.shape)
    known = np.ones(mask.shape, np.float32) if keep else (~mask).astype(np.float32)
    weight = cv2.GaussianBlur(known, (0, 0), sigma)
    values = cv2.GaussianBlur(image.astype(np.float32) * known[..., np.newaxis], (0, 0), sigma)
    filled = image.copy()
    filled[mask] = np.clip(values / np.maximum(weight, 1e-6)[..., np.newaxis], 0, 255)[mask].astype(np.uint8)
    return filled


def patch_exchange(pool: ImagePool, class_id: int, name: str) -> Exchange:
    """Copy the warmest patch of `PATCHES`: to its own place, or onto the recipient's warmest patch."""
    anywhere = PATCHES[name].anywhere

    def copy(recipient: int, donor: int, of: int) -> Image | None:
        image, other = pool[recipient][0], pool[donor][0]
        target, source = (pool.spot(number, class_id, name).place for number in (of, donor))
        mask = (~pool.fixed(recipient)[target] & ~pool.fixed(donor)[source]) | anywhere
        if mask.mean() < _LEAST_PATCH:
            return None
        changed = image.copy()
        changed[target][mask] = other[source][mask]
        return changed

    def erase(number: int) -> Image:
        image = pool[number][0]
        mask = np.zeros(image.shape[:2], bool)
        mask[pool.spot(number, class_id, name).place] = True
        return blurred(image, mask)

    return Exchange(
        lambda recipient, donor: copy(recipient, donor, donor),
        lambda recipient, donor: copy(recipient, donor, recipient),
        erase,
        evidence=lambda number: pool.spot(number, class_id, name).evidence,
    )
