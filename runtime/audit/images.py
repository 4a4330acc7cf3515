"""Values of each image of an audit: answer, place of the evidence, and its boxes."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from camrt.runtime.audit.samples import Samples
from camrt.runtime.maps.attention import centre_share, entropy, map_distance

_DIGITS: Final = 4
COLUMNS: Final = (
    *("file", "class", "answer", "right", "score", "answer_score"),
    *("on_object", "centre", "entropy", "distance", "width", "height", "sha1"),
)
"""Keys of `image_rows`. A row of an audit with groups has ``group``, too."""


def attention_of(samples: Samples) -> NDArray[np.float64]:
    """Return statistics of each image's map: share on the centre, entropy, distance of the class's mean map.

    The mean map of a class is that of its other images, so that an image is not compared with itself.

    Returns: float64 (N, 3); NaN: the map has no positive value, or the class has no other image.
    """
    values = np.full((len(samples.classes), 3), np.nan)
    for class_id in np.unique(samples.classes).tolist():
        numbers = samples.of_class(class_id)
        total = samples.maps[numbers].sum(axis=0, dtype=np.float64)
        for number in numbers.tolist():
            cam = samples.positive_map(number)
            values[number, :2] = centre_share(cam), entropy(cam)
            if len(numbers) > 1:
                others = (total - samples.maps[number]).astype(np.float32)
                values[number, 2] = map_distance(samples.maps[number].astype(np.float32), others)
    return values


def image_rows(samples: Samples, labels: Sequence[str], groups: Sequence[str] | None = None) -> list[Mapping[str, Any]]:
    """Return the values of each image by `COLUMNS`, in the order of the data.

    Args:
        samples: the images.
        labels: names of the model's classes.
        groups: name of each image's group; None: there are none.
    """
    attention = attention_of(samples)
    rows: list[Mapping[str, Any]] = []
    for number, source in enumerate(samples.sources):
        own, answer = int(samples.classes[number]), int(samples.predicted[number])
        centre, spread, distance = attention[number].tolist()
        row: dict[str, Any] = {
            "file": source.name,
            "class": labels[own],
            "answer": labels[answer],
            "right": own == answer,
            "score": _rounded(samples.scores[number]),
            "answer_score": _rounded(samples.predicted_scores[number]),
            "on_object": _rounded(samples.on_object[number]),
            "centre": _rounded(centre),
            "entropy": _rounded(spread),
            "distance": _rounded(distance),
            "width": int(samples.sizes[number][0]),
            "height": int(samples.sizes[number][1]),
            "sha1": samples.contents[number].hex(),
        }
        if groups is not None:
            row["group"] = groups[number]
        rows.append(row)
    return rows


def _rounded(value: Any) -> float | None:
    """Return a value that JSON holds: four digits; None: it is not finite."""
    return round(float(value), _DIGITS) if math.isfinite(value) else None
