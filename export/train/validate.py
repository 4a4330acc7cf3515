"""Validate a network: classes and maps of the images, from one pass over them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from camrt import kernels
from camrt.export.train.augment import network_input
from camrt.export.train.gap_cnn import GapCnn
from camrt.export.train.prepare import Prepared
from camrt.export.train.samples import Box
from camrt.kernels.map_metrics import energy_in_mask, mask_of_boxes

F32 = NDArray[np.float32]
BATCH = 64


@dataclass(frozen=True, slots=True)
class Validation:
    """A network's answers for a part."""

    scores: F32
    """(N, K) probabilities."""
    loss: float
    """Mean cross entropy, in nats."""
    maps: dict[int, F32]
    """(h, w) map of the true class, of the images that are followed, by their number."""
    attention: NDArray[np.float64]
    """(N,), share of the true class's heat in the object's boxes; NaN: the image has none."""
    map_seconds: float
    """Time that the maps took."""

    @property
    def predicted(self) -> NDArray[np.int64]:
        """(N,) class numbers."""
        return np.asarray(self.scores.argmax(axis=1))


def validate(network: GapCnn, part: Prepared, targets: NDArray[np.int64], followed: Sequence[int]) -> Validation:
    """Run a network on a part.

    Args:
        network: in evaluation mode, on any device.
        part: images at the network's size.
        targets: (N,) class numbers.
        followed: numbers of the images whose maps are returned.
    """
    device = network.classifier.weight.device
    wanted = set(followed)
    rows, maps, seconds = [], {}, 0.0
    attention = np.full(len(targets), np.nan)
    with torch.inference_mode():
        weight = network.classifier.weight
        for begin in range(0, len(targets), BATCH):
            numbers = range(begin, min(begin + BATCH, len(targets)))
            pixels = torch.from_numpy(np.stack([part.store.image(number) for number in numbers])).to(device)
            features = network.features(network_input(pixels))
            rows.append(network.classifier(features.mean(dim=(2, 3))).float().cpu())
            start = time.perf_counter()
            for number in numbers:
                boxes = part.samples[number].boxes
                if boxes or number in wanted:
                    one = torch.einsum("chw,c->hw", features[number - begin], weight[int(targets[number])])
                    cam = one.float().cpu().numpy()
                    if number in wanted:
                        maps[number] = cam
                    if boxes:
                        attention[number] = _attention(cam, boxes, part.sides[number])
            seconds += time.perf_counter() - start
    logits = torch.cat(rows)
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(targets)).item()
    return Validation(logits.softmax(1).numpy(), loss, maps, attention, seconds)


def _attention(cam: F32, boxes: Sequence[Box], side: NDArray[np.int64]) -> float:
    """Return the share of a map's heat in boxes, as `camrt eval` computes the energy in boxes."""
    width, height = map(int, side)
    heat = kernels.upsample(kernels.normalize(cam), width, height)
    return energy_in_mask(heat, mask_of_boxes(boxes, width, height))


def recalls(predicted: NDArray[np.int64], targets: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """Return the share of each class's images that are right: (K,); NaN for a class without images."""
    right = np.bincount(targets[predicted == targets], minlength=classes)
    counts = np.bincount(targets, minlength=classes)
    return np.asarray(np.divide(right, counts, out=np.full(classes, np.nan), where=counts > 0))
