"""Synthetic scenes as labelled images, for the bundled model."""

from collections.abc import Iterable, Iterator

from camrt.runtime.evaluation.datasets.labelled import LabelledImage, Target
from camrt.synthetic_scene import CLASSES, views_of


def labelled_scenes(seeds: Iterable[int], views_per_act: int) -> Iterator[LabelledImage]:
    """Yield the views of `camrt.synthetic_scene.views_of` with the class and the mask of their object."""
    for number, view in enumerate(views_of(seeds, views_per_act)):
        target = Target(CLASSES[view.class_id], masks=(view.mask,))
        yield LabelledImage(f"view {number}", view.image, (target,))
