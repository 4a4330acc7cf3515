"""Decode the images of a training once: broken ones are found, all others are kept at the size that is needed."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from camrt import kernels
from camrt.cores import usable_cores
from camrt.errors import SourceError
from camrt.export.train.samples import Sample
from camrt.images import Image, read_image
from camrt.progress import Progress

MARGIN: Final = 1.25
"""Training images are kept at this multiple of the network's input, so that crops stay sharp."""
THUMBNAIL: Final = 16
"""Pixels of a side of the thumbnails that find near-duplicates."""
SMALLEST_SIDE: Final = 4
"""Pixels below which an image shows nothing to learn from."""
_SHARE_OF_MEMORY: Final = 0.4


@dataclass(frozen=True, slots=True)
class Prepared:
    """Images of one part that can be used."""

    samples: tuple[Sample, ...]
    store: "ImageStore"
    thumbnails: NDArray[np.uint8]
    """(N, THUMBNAIL, THUMBNAIL, 3) BGR, to find near-duplicates."""
    sides: NDArray[np.int64]
    """(N, 2), width and height of each file's image."""
    problems: tuple[str, ...]
    """One line about each image that cannot be used."""


class ImageStore:
    """The images of a part at one size; in memory as long as there is room, decoded again where there is none."""

    def __init__(self, samples: Sequence[Sample], size: int, *, whole: bool) -> None:
        """Begin with no image in memory.

        Args:
            samples: the images.
            size: side of the network's input in pixels.
            whole: the image is stretched to the network's input, as in the runtime; False: it is reduced to `MARGIN`
                times this size on each side that is longer, for crops.
        """
        self._samples = samples
        self._size = size
        self._whole = whole
        self._kept: dict[int, Image] = {}

    def __len__(self) -> int:
        return len(self._samples)

    def keep(self, number: int, image: Image) -> None:
        """Keep an image that `shape` gave."""
        self._kept[number] = image

    def select(self, numbers: Sequence[int], samples: Sequence[Sample]) -> "ImageStore":
        """Return the store of some of the images."""
        store = ImageStore(samples, self._size, whole=self._whole)
        store._kept = {new: self._kept[old] for new, old in enumerate(numbers) if old in self._kept}
        return store

    def shape(self, image: Image) -> Image:
        """Return an image of a file, uint8 (H, W, 3) BGR, at the size of this store."""
        height, width = image.shape[:2]
        if self._whole:
            return kernels.resize(image, self._size, self._size)
        most = ceil(MARGIN * self._size)
        if height <= most and width <= most:
            return image
        return kernels.resize(image, min(width, most), min(height, most))

    def image(self, number: int) -> Image:
        """Return an image. Raises: SourceError: its file was changed during the training."""
        kept = self._kept.get(number)
        return self.shape(read_image(self._samples[number].path)) if kept is None else kept


def prepare(samples: Sequence[Sample], size: int, *, whole: bool, room: int) -> Prepared:
    """Decode images with all cores, and keep those that can be used.

    Args:
        samples: the images.
        size: side of the network's input in pixels.
        whole: see `ImageStore`.
        room: bytes that the kept images may take; the others are decoded again in each epoch.
    """
    store = ImageStore(samples, size, whole=whole)
    numbers, problems, thumbnails, sides = [], [], [], []

    def decode(sample: Sample) -> tuple[Image, Image, tuple[int, int]] | str:
        try:
            image = read_image(sample.path)
        except SourceError as error:
            return str(error)
        height, width = image.shape[:2]
        if min(height, width) < SMALLEST_SIDE:
            return f"{sample.path} has {width}x{height} pixels; a side needs at least {SMALLEST_SIDE}"
        return store.shape(image), kernels.resize(image, THUMBNAIL, THUMBNAIL), (width, height)

    bar = Progress(len(samples), "images", after_s=2.0)
    with ThreadPoolExecutor(usable_cores()) as pool:
        for number, result in enumerate(pool.map(decode, samples)):
            bar.step()
            if isinstance(result, str):
                problems.append(result)
                continue
            image, thumbnail, side = result
            room -= image.nbytes
            if room >= 0:
                store.keep(number, image)
            numbers.append(number)
            thumbnails.append(thumbnail)
            sides.append(side)
    bar.close()
    usable = tuple(samples[number] for number in numbers)
    small = np.stack(thumbnails) if thumbnails else np.zeros((0, THUMBNAIL, THUMBNAIL, 3), np.uint8)
    return Prepared(
        usable, store.select(numbers, usable), small, np.array(sides, np.int64).reshape(-1, 2), tuple(problems)
    )


def memory_for_images() -> int:
    """Return the bytes that decoded images may take: a share of what is free, within the limit of a container."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                free = int(line.split()[1]) * 1024
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
        if limit != "max":
            free = min(free, int(limit) - used)
    except (OSError, ValueError, IndexError):  # no Linux, or no container
        pass
    return int(_SHARE_OF_MEMORY * max(0, free))
