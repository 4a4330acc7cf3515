"""Results that were stored before, in place of a model that runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from camrt.images import Image
from camrt.model_file import InputGeometry
from camrt.runtime.evaluation.datasets.labelled import LabelledImage
from camrt.runtime.maps.result import Result


@runtime_checkable
class MapProvider(Protocol):
    """Stored results of labelled images."""

    path: Path
    """The store, for messages."""
    labels: tuple[str, ...]
    """Name of each class, in the order of the scores."""
    geometry: InputGeometry
    """How images became the network's input."""
    remarks: Sequence[str]
    """Lines about the state of the store, and about the metrics and baselines that need the model."""

    def image_of(self, labelled: LabelledImage, class_ids: Sequence[Sequence[int]]) -> Image:
        """Return a black image of the size of an image: uint8 (H, W, 3).

        Args:
            labelled: the image.
            class_ids: for each object the numbers of the right classes; the map of the best of them is needed.

        Raises:
            SourceError: the store has no such image, or no map of one of the objects.
        """

    def __call__(self, image: Image) -> Result:
        """Return the result of the image that `image_of` returned last."""
