"""Summaries of the classes of an audit."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from camrt.runtime.audit.finding import ClassSummary
from camrt.runtime.audit.samples import Samples
from camrt.runtime.inference.model import Model

_SHOWN: Final = 8


def summaries_of(samples: Samples, model: Model) -> tuple[Sequence[ClassSummary], list[str]]:
    """Return the summaries of the classes of the data, and lines about observations that are no proof."""
    summaries = []
    for class_id in np.unique(samples.classes).tolist():
        numbers = samples.of_class(class_id)
        right = samples.predicted[numbers] == class_id
        answers, counts = np.unique(samples.predicted[numbers][~right], return_counts=True)
        order = np.argsort(-counts, kind="stable")
        shares = samples.on_object[numbers]
        summaries.append(
            ClassSummary(
                class_id=class_id,
                label=model.labels[class_id],
                images=len(numbers),
                accuracy=float(right.mean()),
                confidence=float(samples.scores[numbers].mean()),
                mean_map=(samples.maps[numbers].mean(axis=0, dtype=np.float64) / 255).astype(np.float32),
                confusions=[(model.labels[answers[one]], int(counts[one])) for one in order],
                on_object=float(np.nanmean(shares)) if np.isfinite(shares).any() else None,
            )
        )
    return summaries, []
