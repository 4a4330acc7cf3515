"""Models with a planted shortcut: small networks trained from scratch, and linear heads on frozen features."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch

from camrt.benchmarks.fruits import MEAN, STD, make_network, network_input
from camrt.benchmarks.planted_bias.images import Split
from camrt.benchmarks.planted_bias.plants import Image
from camrt.export import from_torch
from camrt.export.train.loop import fit

SIZE: Final = 64
"""Pixels of each side of the input of a network from scratch."""


def train_from_scratch(split: Split, labels: Sequence[str], target: Path, *, seed: int, epochs: int = 25) -> None:
    """Train a small VGG with a global average pool, and write the model file."""
    torch.manual_seed(seed)
    network = make_network(len(labels), SIZE)
    inputs = network_input(resized(split.images, SIZE))
    classes = torch.tensor(split.classes)
    fit(network, inputs, classes, epochs=epochs, seed=seed, batch_size=32, shift=SIZE // 16)
    from_torch(
        network, target, input_size=SIZE, labels=list(labels), mean=MEAN, std=STD, interpolation="area", overwrite=True
    )


def resized(images: Sequence[Image], size: int) -> Image:
    """Return images at the size of a network's input: uint8 (N, size, size, 3)."""
    return np.stack([cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA) for image in images]).astype(
        np.uint8
    )
