"""Images with the classes, boxes and masks of their objects."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from numpy.typing import NDArray

from camrt.errors import SourceError
from camrt.images import Image

Format = Literal["folder", "voc", "coco", "csv", "json"]
Box = tuple[float, float, float, float]
"""(x0, y0, x1, y1) in pixels of the image, x1 and y1 exclusive."""


@dataclass(frozen=True, slots=True)
class Target:
    """All objects of one class in an image."""

    label: str
    """Name of the class, as the data write it."""
    boxes: tuple[Box, ...] = ()
    masks: tuple[Path | NDArray, ...] = ()  # type: ignore[type-arg]
    """PNG files (see `camrt.runtime.evaluation.datasets.mask`) or bool (H, W) arrays, one for each object."""
    numbers: tuple[int, ...] = ()
    """Numbers of classes that the data state. They count only where labels prove their order, see
    `camrt.runtime.evaluation.class_matching`."""


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """An image with its objects."""

    name: str
    """Name for reports: the path below the data's folder."""
    image: Path | Image
    """A file, or uint8 (H, W, 3) BGR."""
    targets: tuple[Target, ...]
    """One for each class."""
    size: tuple[int, int] | None = None
    """(width, height) that the annotation states."""
    problem: str = ""
    """Reason why the annotation cannot be used; the image is skipped and reported."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Further columns of a table of labels, by title. Different values in lines of one image are joined by commas."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Labelled images of a folder or a file. Their pixels are read one after the other."""

    name: str
    format: Format
    images: Sequence[LabelledImage]
    remarks: list[str] = field(default_factory=list)
    """One line about each thing that was left out."""
    synonyms: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Labels of the model for classes that the data name differently, such as WordNet ids."""

    @property
    def labels(self) -> list[str]:
        """The classes of the data, in the order of their first image."""
        return list(dict.fromkeys(target.label for image in self.images for target in image.targets))


class AnnotationError(SourceError):
    """A file of annotations cannot be used; the message names the file and the entry."""
