"""Reference of a class's attention: ranges of its statistics, with which `camrt live --reference` compares a stream."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from camrt.runtime.audit.images import attention_of
from camrt.runtime.audit.samples import Samples
from camrt.runtime.maps.attention import STATISTICS

_PERCENTILES: Final = (1, 5, 25, 50, 75, 95, 99)
_FEWEST: Final = 8
"""Right answers that a class needs; the range of fewer says little."""


def reference_of(samples: Samples, labels: Sequence[str]) -> list[Mapping[str, Any]]:
    """Return the reference of each class with enough images that have the right answer.

    A stream has no true classes, so that its maps are those of the answers. Wrong answers of the audit do not count.

    Returns: for each class: ``class_id``, ``class``, ``images`` (right answers), ``mean_map`` (of all images of the
    class, each from 0 to 1), and for each key of `STATISTICS` the percentiles ``p1`` to ``p99``.
    """
    attention = attention_of(samples)
    right = (samples.predicted == samples.classes) & np.isfinite(attention).all(axis=1)
    found: list[Mapping[str, Any]] = []
    for class_id in np.unique(samples.classes[right]).tolist():
        numbers = samples.of_class(class_id)
        values = attention[numbers[right[numbers]]]
        if len(values) < _FEWEST:
            continue
        levels = np.percentile(values, _PERCENTILES, axis=0)
        found.append(
            {
                "class_id": class_id,
                "class": labels[class_id],
                "images": len(values),
                "mean_map": np.round(samples.maps[numbers].mean(axis=0, dtype=np.float64) / 255, 4).tolist(),
                **{
                    key: {f"p{one}": round(float(levels[row, column]), 5) for row, one in enumerate(_PERCENTILES)}
                    for column, key in enumerate(STATISTICS)
                },
            }
        )
    return found
