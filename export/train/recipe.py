"""Settings of a training, with defaults that work for small sets of images."""

from dataclasses import dataclass
from typing import Literal, get_args

from camrt.errors import UsageError

Augmentation = Literal["none", "light", "strong"]
SMALLEST, LARGEST = 32, 1024
"""Sides of the network's input, in pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Settings that determine a training's result, together with the images, the weights file and the machine."""

    backbone: str = "gap-s"
    """See `camrt.export.train.backbone.make_network`."""
    weights: str | None = None
    """File of pretrained weights of the backbone; None: random ones."""
    size: int = 128
    """Side of the network's input in pixels."""
    epochs: int = 60
    """Passes over the training images; with ``time_s`` the most."""
    time_s: float | None = None
    """Seconds that the training may take, without the export; None: all epochs."""
    batch: int = 32
    """Images in a step; halved where memory is short."""
    learning_rate: float | None = None
    """The highest; None: 3e-3 for random weights, 1e-3 for pretrained ones."""
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    warm_up: float = 0.1
    """Share of the training in which the learning rate rises."""
    head_first: float = 0.15
    """Share of the training in which only the linear layer learns, if weights are pretrained."""
    augment: Augmentation = "light"
    flip: bool = True
    """Mirror images at random."""
    patience: int = 25
    """Epochs without a better top-1 after which the training stops; 0: never. Only with a validation part."""
    seed: int = 0
    deterministic: bool = False
    """Only operations that repeat exactly on CUDA; they may be slower. On one CPU all do."""

    def __post_init__(self) -> None:
        limits = {
            "size": (SMALLEST, LARGEST),
            "epochs": (1, 100_000),
            "batch": (2, 65_536),
            "patience": (0, 100_000),
            "warm_up": (0, 1),
            "head_first": (0, 0.9),
            "weight_decay": (0, 10),
            "label_smoothing": (0, 0.9),
            "seed": (0, 2**32 - 1),
        }
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                raise UsageError(f"{name.replace('_', '-')} {getattr(self, name)} must be within {low} and {high}")
        if self.learning_rate is not None and not 0 < self.learning_rate <= 10:
            raise UsageError(f"learning-rate {self.learning_rate} must be above 0 and at most 10")
        if self.time_s is not None and not self.time_s > 0:
            raise UsageError(f"time {self.time_s} must be more than 0 seconds")
        if self.augment not in get_args(Augmentation):
            raise UsageError(f"augment {self.augment!r} is unknown; known are {', '.join(get_args(Augmentation))}")

    @property
    def peak_rate(self) -> float:
        """The highest learning rate."""
        if self.learning_rate is not None:
            return self.learning_rate
        return 3e-3 if self.weights is None else 1e-3
