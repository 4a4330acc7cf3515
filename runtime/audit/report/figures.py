"""Figures of an audit's page: images with maps, before and after an experiment, mean maps."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from camrt.errors import SourceError
from camrt.geometry import Placement
from camrt.images import Image
from camrt.runtime.audit.finding import AuditData, Example, View
from camrt.runtime.audit.samples import file_bytes, pixels
from camrt.runtime.maps.overlay import OverlayStyle, paint
from camrt.runtime.report import html
from camrt.runtime.report.pictures import map_alone, resized, with_map

LARGE: Final = 320
"""Pixels of the longer side of an image of a finding."""
SMALL: Final = 192
_MEAN: Final = 128


class Figures:
    """Draws images of an audit. They are read and classified again."""

    def __init__(self, audit: AuditData) -> None:
        self._model = audit.classifier
        self._samples = audit.samples
        self.numbers = {source.name: number for number, source in enumerate(audit.samples.sources)}
        """Number of each image by its name."""

    def typical(self, number: int) -> str:
        """Return an image with the map of its true class."""
        return self._figure(number, [int(self._samples.classes[number])], [self._name(number)])

    def error(self, number: int) -> str:
        """Return a wrong answer: the map of the true class, and that of the answer."""
        own, answer = int(self._samples.classes[number]), int(self._samples.predicted[number])
        labels = self._model.labels
        score, other = self._samples.scores[number], self._samples.predicted_scores[number]
        caption = [f"{labels[own]} {score:.2f} | {labels[answer]} {other:.2f}", self._name(number)]
        return self._figure(number, [own, answer], caption)

    def _figure(self, number: int, class_ids: Sequence[int], caption: Sequence[str]) -> str:
        source = self._samples.sources[number]
        try:
            image = pixels(source, file_bytes(source))
        except SourceError as error:  # the file has gone since it was classified
            return html.figure([], [*caption, str(error)])
        result = self._model(image)
        drawn = [with_map(image, result.visible_cam(one), self._model.geometry, SMALL) for one in class_ids]
        words = [f"map of {self._model.labels[one]}" for one in class_ids]
        return html.figure(map(html.inline_image, drawn, words), caption)

    def _name(self, number: int) -> str:
        share = float(self._samples.on_object[number])
        part = f", {share:.0%} of the map on the object" if np.isfinite(share) else ""
        return f"{self._samples.sources[number].name}{part}"


def example_figure(example: Example, label: str) -> str:
    """Return an image before and after an experiment, each with the map of the suspected class."""
    scores = f"{label!r} {example.before.score:.2f} → {example.after.score:.2f}"
    kept = example.before.answer == example.after.answer
    caption = [f"{example.before.answer} → {example.after.answer}" if not kept else f"stays {example.before.answer}"]
    caption += [scores, example.image]
    if example.donor:
        caption.append(f"evidence from {example.donor}")
    views = ((example.before, "before"), (example.after, "after"))
    return html.figure((html.inline_image(_drawn(view), f"{name} the change") for view, name in views), caption)


def _drawn(view: View) -> Image:
    frame = resized(view.image, LARGE)
    height, width = frame.shape[:2]
    placement = Placement(width, height, (0, 0, width, height), (0.0, 0.0, 1.0, 1.0))
    return paint(frame, view.cam, placement, OverlayStyle(alpha=0.6))


def mean_map(values: Any, caption: Sequence[str]) -> str:
    """Return a mean map in colours; ``values``: rows of values in [0, 1]."""
    picture = map_alone(np.asarray(values, np.float32), _MEAN)
    return html.figure([html.inline_image(picture, "mean map")], caption)


def clusters(some: Sequence[Mapping[str, Any]]) -> str:
    """Return the mean maps of clusters."""
    return html.gallery(
        (
            mean_map(one["mean_map"], [f"{one['size']} images, {one['share']:.0%}", f"such as {one['images'][0]}"])
            for one in some
        ),
        small=True,
    )
