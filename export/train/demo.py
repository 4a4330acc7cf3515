"""Train the bundled model on synthetic scenes: some ten minutes on two cores, the same each time on one machine.

python -m camrt.export.train.demo -o runtime/assets/demo.onnx
"""

import argparse
import time
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch
from torch import nn

from camrt.export.convert import Report
from camrt.export.from_torch import from_torch
from camrt.export.train.gap_cnn import GapCnn
from camrt.export.train.loop import fit
from camrt.synthetic_scene import CLASSES, FRAMES_PER_ACT, Scene

WIDTH, HEIGHT = 128, 96
"""Of the network's input, in pixels."""
FIRST_SEED: Final = 1_000_000
"""Scenes from this seed on are for training; every other use of scenes stays below it."""

_FRAME = (320, 240)
_ACTS = 6  # of a scene: each class once
_MEAN, _STD = 0.5, 0.25


def make_network() -> GapCnn:
    """Return the untrained network: maps of 16x12 cells.

    What tells a shape lies at its corners and edges, so the maps would be warm around an object. The average over 5x5
    cells, about the size of an object, lets that evidence meet in its middle.
    """
    layers: list[nn.Module] = []
    channels = 3
    for width, side, stride in ((24, 5, 2), (32, 3, 2), (64, 3, 2), (64, 3, 1), (64, 3, 1), (64, 3, 1)):
        layers += [nn.Conv2d(channels, width, side, stride, side // 2, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        channels = width
    return GapCnn(nn.Sequential(*layers, nn.AvgPool2d(5, 1, 2)), channels, len(CLASSES))


def render(scenes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Render one frame of each act of ``scenes`` scenes: uint8 (N, 3, H, W) BGR and class numbers (N,)."""
    random = np.random.default_rng(FIRST_SEED)
    pictures = np.empty((scenes * _ACTS, HEIGHT, WIDTH, 3), np.uint8)
    targets = np.empty(len(pictures), np.int64)
    for number in range(len(pictures)):
        if number % _ACTS == 0:
            scene = Scene(FIRST_SEED + number // _ACTS, *_FRAME)
        view = scene.view(number % _ACTS * FRAMES_PER_ACT + int(random.integers(FRAMES_PER_ACT)))
        cv2.resize(view.image, (WIDTH, HEIGHT), dst=pictures[number], interpolation=cv2.INTER_AREA)
        targets[number] = view.class_id
    return torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))), torch.from_numpy(targets)


class _Scaled(nn.Module):
    """The network on bytes, for training; the model file scales for itself."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network((pictures / 255 - _MEAN) / _STD)
        return logits


def train(output: Path, *, seed: int, scenes: int, epochs: int) -> Report:
    """Render, train, export.

    Args:
        output: the model file to write; replaced if it exists.
        seed: of the weights, of the order of the frames and of their variation.
        scenes: how many to train on, six frames each.
        epochs: times that each frame is seen.
    """
    torch.manual_seed(seed)
    network = make_network()
    pictures, targets = render(scenes)
    losses = fit(_Scaled(network), pictures, targets, epochs=epochs, seed=seed, shift=4)
    print(f"{len(pictures)} frames; loss of each epoch {', '.join(f'{loss:.3f}' for loss in losses)}")
    return from_torch(
        network,
        output,
        input_size=(WIDTH, HEIGHT),
        labels=CLASSES,
        mean=(_MEAN,) * 3,
        std=(_STD,) * 3,
        channels="bgr",
        interpolation="area",
        overwrite=True,
    )


def main() -> None:
    """Read the command line, train, print."""
    parser = argparse.ArgumentParser(description="train the bundled model")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scenes", type=int, default=2000, help="scenes to train on (default 2000)")
    parser.add_argument("--epochs", type=int, default=10, help="default: 10")
    args = parser.parse_args()
    start = time.perf_counter()
    report = train(args.output, seed=args.seed, scenes=args.scenes, epochs=args.epochs)
    print(f"wrote {args.output}, {args.output.stat().st_size / 1024:.0f} KiB, in {time.perf_counter() - start:.0f} s")
    print(report)


if __name__ == "__main__":
    main()
