"""Models with a planted shortcut: small networks trained from scratch, and linear heads on frozen features."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch

from camrt.benchmarks.planted_bias.images import Split
from camrt.benchmarks.planted_bias.plants import Image
from camrt.export import from_torch
from camrt.export.train.gap_cnn import GapCnn
from camrt.export.train.loop import fit

SIZE: Final = 64
"""Pixels of each side of the input of a network from scratch."""
_WIDTHS: Final = (16, 32, 64, 64)
"""Channels of the convolutions; a max pool stands between them."""
EPOCHS: Final = 25
_MEAN, _STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)


def train_from_scratch(split: Split, labels: Sequence[str], target: Path, *, seed: int, epochs: int = EPOCHS) -> None:
    """Train a small VGG with a global average pool, and write the model file."""
    torch.manual_seed(seed)
    network = _make_network(len(labels))
    planes = resized(split.images, SIZE)[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)
    inputs = torch.from_numpy((planes / 255 - _MEAN[0]) / _STD[0])
    classes = torch.tensor(split.classes)
    fit(network, inputs, classes, epochs=epochs, seed=seed, batch_size=32, shift=SIZE // 16)
    from_torch(
        network,
        target,
        input_size=SIZE,
        labels=list(labels),
        mean=_MEAN,
        std=_STD,
        interpolation="area",
        overwrite=True,
    )


def _make_network(classes: int) -> GapCnn:
    layers: list[torch.nn.Module] = []
    channels = 3
    for width in _WIDTHS:
        if layers:
            layers.append(torch.nn.MaxPool2d(2))
        layers += [
            torch.nn.Conv2d(channels, width, 3, padding=1),
            torch.nn.BatchNorm2d(width),
            torch.nn.ReLU(),
        ]
        channels = width
    return GapCnn(torch.nn.Sequential(*layers), channels, classes)


def resized(images: Sequence[Image], size: int) -> Image:
    """Return images at the size of a network's input: uint8 (N, size, size, 3)."""
    return np.stack([cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA) for image in images]).astype(
        np.uint8
    )
