"""Attention on the object: right answers for a wrong reason, and wrong answers in spite of the object."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from camrt.runtime.audit.samples import Samples

_LOW: Final = 0.2
"""Share of the map on the object below which an answer has another reason."""
_HIGH: Final = 0.6
_CONFIDENT: Final = 0.8
_SHOWN: Final = 8
_ALIKE: Final = 0.97
"""Correlation of two mean maps from which on two classes look at the same place."""


def wrong_reason(samples: Samples, numbers: NDArray[np.intp]) -> list[str]:
    """Return images of a class with the right, confident answer and little of the map on the object, least first."""
    shares = np.nan_to_num(samples.on_object[numbers], nan=1.0)
    right = samples.predicted[numbers] == samples.classes[numbers]
    chosen = right & (samples.scores[numbers] >= _CONFIDENT) & (shares < _LOW)
    order = np.argsort(shares, kind="stable")
    return [samples.sources[numbers[one]].name for one in order if chosen[one]][:_SHOWN]


def wrong_answer(samples: Samples, numbers: NDArray[np.intp]) -> list[str]:
    """Return images of a class with a wrong answer and most of the map on the object, most confident first."""
    shares = np.nan_to_num(samples.on_object[numbers])
    chosen = (samples.predicted[numbers] != samples.classes[numbers]) & (shares >= _HIGH)
    order = np.argsort(-samples.predicted_scores[numbers], kind="stable")
    return [samples.sources[numbers[one]].name for one in order if chosen[one]][:_SHOWN]


def alike_pairs(mean_maps: NDArray[np.float32], labels: Sequence[str]) -> list[tuple[str, str, float]]:
    """Return pairs of classes whose mean maps correlate most, above a limit, with the correlation, highest first."""
    flat = mean_maps.reshape(len(mean_maps), -1).astype(np.float64)
    flat = flat - flat.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(flat, axis=1)
    flat = flat[norms > 0] / norms[norms > 0, np.newaxis]
    kept = [label for label, norm in zip(labels, norms, strict=True) if norm > 0]
    first, second = np.triu_indices(len(kept), 1)
    values = (flat @ flat.T)[first, second]
    order = [int(one) for one in np.argsort(-values, kind="stable") if values[one] >= _ALIKE]
    return [(kept[first[one]], kept[second[one]], float(values[one])) for one in order]
