"""Train the bundled model on synthetic scenes: about ten minutes on two cores, reproducible on one machine.

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

from camrt.export.from_torch import from_torch
from camrt.export.report import Report
from camrt.export.train.gap_cnn import GapCnn
from camrt.export.train.loop import fit
from camrt.synthetic_scene import CLASSES, FRAMES_PER_ACT, Scene

WIDTH, HEIGHT = 128, 96
"""Of the network's input, in pixels."""
FIRST_SEED: Final = 1_000_000
"""Training uses scenes from this seed on; tests and demos use lower seeds."""

_FRAME = (320, 240)
_ACTS = 6  # in a scene: each class once
_MEAN, _STD = 0.5, 0.25


def make_network() -> GapCnn:
    """Return the untrained network, with maps of 16x12 cells.

    Corners and edges distinguish shapes, so plain maps would be warm around an object. An average over 5x5 cells, about
    the size of an object, moves that evidence to its centre.
    """
    layers: list[nn.Module] = []
    channels = 3
    for width, side, stride in ((24, 5, 2), (32, 3, 2), (64, 3, 2), (64, 3, 1), (64, 3, 1), (64, 3, 1)):
        layers += [nn.Conv2d(channels, width, side, stride, side // 2, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        channels = width
    return GapCnn(nn.Sequential(*layers, nn.AvgPool2d(5, 1, 2)), channels, len(CLASSES))


def render(scenes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Render one frame of each act of ``scenes`` scenes: images, uint8 (N, 3, H, W) BGR, and class numbers (N,)."""
    random = np.random.default_rng(FIRST_SEED)
    images = np.empty((scenes * _ACTS, HEIGHT, WIDTH, 3), np.uint8)
    targets = np.empty(len(images), np.int64)
    for number in range(len(images)):
        if number % _ACTS == 0:
            scene = Scene(FIRST_SEED + number // _ACTS, *_FRAME)
        view = scene.view(number % _ACTS * FRAMES_PER_ACT + int(random.integers(FRAMES_PER_ACT)))
        cv2.resize(view.image, (WIDTH, HEIGHT), dst=images[number], interpolation=cv2.INTER_AREA)
        targets[number] = view.class_id
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))), torch.from_numpy(targets)


class _WithPreprocessing(nn.Module):
    """The network for pixels, for training; the model file has its own preprocessing."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network((images / 255 - _MEAN) / _STD)
        return logits


def train(output: Path, *, seed: int, scenes: int, epochs: int) -> Report:
    """Render the scenes, train the network, export it.

    Args:
        output: the model file to write; replaced if it exists.
        seed: of the weights, the order of the frames, and their augmentation.
        scenes: number of scenes to train on, six frames each.
        epochs: passes over all frames.
    """
    torch.manual_seed(seed)
    network = make_network()
    images, targets = render(scenes)
    losses = fit(_WithPreprocessing(network), images, targets, epochs=epochs, seed=seed, shift=4)
    print(f"{len(images)} frames; loss of each epoch {', '.join(f'{loss:.3f}' for loss in losses)}")
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
    """Run the command line."""
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
