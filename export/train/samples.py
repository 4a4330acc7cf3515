"""Labelled images of a training: what a dataset's folders or table say, before any image is read."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PARTS: Final = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "tst"),
}
"""Names of each part of a dataset, in lower case."""

Box = tuple[float, float, float, float]
"""(x0, y0, x1, y1) in pixels of the image, x1 and y1 exclusive."""


@dataclass(frozen=True, slots=True)
class Sample:
    """An image with its class."""

    path: Path
    name: str
    """Path below the dataset, for messages and tables."""
    label: str
    group: str = ""
    """Images of one group show one object: they stay on one side of a split. Empty: a group of its own."""
    boxes: tuple[Box, ...] = ()
    """Places of the object; empty: unknown."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """The images of a training, in parts."""

    name: str
    classes: tuple[str, ...]
    """In natural order; a class's number is its position."""
    train: tuple[Sample, ...]
    val: tuple[Sample, ...]
    """Images that show the progress; see ``selects``."""
    test: tuple[Sample, ...]
    """Images that are used once, after the training; may be empty."""
    selects: bool
    """``val`` chooses the best epoch. False: it is the dataset's test part, so the last epoch is taken."""
    remarks: Sequence[str] = ()
    """One sentence for each file that is left out, and for each choice."""
