"""Batches of training images: crops, mirroring and colour, each drawn from the seed, the epoch and the image."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from math import exp, log, sqrt
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from camrt import kernels
from camrt.cores import usable_cores
from camrt.export.graph.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from camrt.export.train.prepare import ImageStore
from camrt.export.train.recipe import Augmentation
from camrt.images import Image


@dataclass(frozen=True, slots=True)
class _Strength:
    least_area: float
    """Smallest share of the image that a crop shows."""
    aspect: float
    """Most that a crop is stretched."""
    colour: float
    """Most that brightness, contrast and saturation change."""


_STRENGTHS: Final[dict[Augmentation, _Strength]] = {
    "none": _Strength(1.0, 1.0, 0.0),
    "light": _Strength(0.65, 1.15, 0.2),
    "strong": _Strength(0.25, 4 / 3, 0.4),
}
_MOST_WORKERS: Final = 8
_GREY: Final = (0.114, 0.587, 0.299)
"""Shares of B, G and R in the brightness (ITU-R BT.601)."""


class Batch(NamedTuple):
    """Images of one step."""

    pixels: torch.Tensor
    """uint8 (N, S, S, 3) BGR."""
    colours: torch.Tensor
    """float32 (N, 3): factors of brightness, contrast and saturation."""
    targets: torch.Tensor
    """int64 (N,)."""


def batches(
    store: ImageStore,
    targets: NDArray[np.int64],
    *,
    size: int,
    batch: int,
    augment: Augmentation,
    flip: bool,
    seed: int,
    epoch: int,
) -> Iterator[Batch]:
    """Yield the batches of an epoch; threads prepare the next ones.

    The order and each image's crop follow from seed, epoch and the image's number alone: a training that goes on after
    an interruption sees what it would have seen, with any number of threads. Batches differ by at most one image, so
    that none is too small for batch normalisation.
    """
    order = np.random.default_rng([seed, epoch]).permutation(len(store))
    parts = np.array_split(order, max(1, -(-len(order) // batch)))
    strength = _STRENGTHS[augment]

    def make(numbers: NDArray[np.int64]) -> Batch:
        pixels = np.empty((len(numbers), size, size, 3), np.uint8)
        colours = np.empty((len(numbers), 3), np.float32)
        for row, number in enumerate(numbers.tolist()):
            random = np.random.default_rng([seed, epoch, number])
            _crop(store.image(number), strength, random, pixels[row], mirror=flip and random.random() < 0.5)
            colours[row] = random.uniform(1 - strength.colour, 1 + strength.colour, 3)
        return Batch(torch.from_numpy(pixels), torch.from_numpy(colours), torch.from_numpy(targets[numbers]))

    workers = min(usable_cores(), _MOST_WORKERS)
    pool = ThreadPoolExecutor(workers, "camrt-images")
    waiting: deque[Future[Batch]] = deque()
    try:
        for part in parts:
            waiting.append(pool.submit(make, part))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _crop(image: Image, strength: _Strength, random: np.random.Generator, out: Image, *, mirror: bool) -> None:
    """Fill ``out`` with a random part of an image, as torchvision's RandomResizedCrop chooses it."""
    height, width = image.shape[:2]
    area, aspect = random.uniform(strength.least_area, 1.0), exp(random.uniform(-1, 1) * log(strength.aspect))
    side, stretch = sqrt(area), sqrt(aspect)
    w, h = width * min(1.0, side * stretch), height * min(1.0, side / stretch)
    x, y = random.uniform(0.0, 1.0, 2) * (width - w, height - h)
    kernels.resize(image, out.shape[1], out.shape[0], (x, y, x + w, y + h), out=out[:, ::-1] if mirror else out)


def network_input(pixels: torch.Tensor, colours: torch.Tensor | None = None) -> torch.Tensor:
    """Return the network's input of pixels: what the model file computes, float32 (N, 3, H, W) RGB.

    Args:
        pixels: uint8 (N, H, W, 3) BGR.
        colours: float32 (N, 3), see `Batch`; None: colours stay.
    """
    images = pixels.flip(3).permute(0, 3, 1, 2).float() / 255
    if colours is not None:
        brightness, contrast, saturation = colours[:, :, None, None, None].unbind(1)
        grey = _brightness(images)
        images = grey + (images - grey) * saturation
        mean = _brightness(images).mean(dim=(2, 3), keepdim=True)
        images = ((mean + (images - mean) * contrast) * brightness).clamp(0, 1)
    return (images - _constant(IMAGENET_MEAN, images)) / _constant(IMAGENET_STD, images)


def _brightness(images: torch.Tensor) -> torch.Tensor:
    return (images * _constant(_GREY[::-1], images)).sum(1, keepdim=True)


def _constant(values: Sequence[float], like: torch.Tensor) -> torch.Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device)[:, None, None]
