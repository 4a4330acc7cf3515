"""Summaries of the classes of an audit."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from camrt.runtime.audit.attention import alike_pairs, wrong_answer, wrong_reason
from camrt.runtime.audit.clusters import cluster_maps
from camrt.runtime.audit.components import suspicious_components
from camrt.runtime.audit.file_facts import fact_remarks
from camrt.runtime.audit.finding import ClassSummary
from camrt.runtime.audit.positions import shared_hot_spot, unusual_positions
from camrt.runtime.audit.samples import Samples
from camrt.runtime.inference.model import Model

_SHOWN: Final = 8
_OTHERS: Final = 2000
"""Images of other classes that components are compared with, about."""


def summaries_of(samples: Samples, model: Model) -> tuple[Sequence[ClassSummary], list[str]]:
    """Return the summaries of the classes of the data, and lines about observations that are no proof."""
    summaries = []
    names = samples.names
    positions = unusual_positions(samples.maps, samples.classes)
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
                positions=positions.get(class_id, ()),
                components=_components(samples, model, class_id),
                clusters=cluster_maps(samples.maps[numbers], [names[one] for one in numbers]),
                wrong_reason=wrong_reason(samples, numbers),
                wrong_answer=wrong_answer(samples, numbers),
            )
        )
    return summaries, [*_observations(summaries, samples), *fact_remarks(samples, model.labels)]


def _components(samples: Samples, model: Model, class_id: int) -> list[Mapping[str, Any]]:
    if samples.pooled is None or model.decoder.cam_weights is None:
        return []
    own = samples.of_class(class_id)
    others = np.flatnonzero(samples.classes != class_id)
    others = others[:: max(1, len(others) // _OTHERS)]
    names = [samples.sources[one].name for one in own]
    weights = model.decoder.cam_weights[class_id]
    return suspicious_components(samples.pooled[own], samples.pooled[others], weights, names)


def _observations(summaries: Sequence[ClassSummary], samples: Samples) -> list[str]:
    lines = []
    maps = np.stack([one.mean_map for one in summaries])
    if (spot := shared_hot_spot(maps)) is not None:
        rows, columns = maps.shape[1:]
        lines.append(
            f"nearly all classes have a hot spot in cell {spot} of {rows} x {columns}, whatever the image: an artefact "
            "of the network's padding, and no finding about a class"
        )
    pairs = alike_pairs(maps, [one.label for one in summaries])
    if len(summaries) > 2 and pairs:
        first, second, value = pairs[0]
        more = f" and {len(pairs) - 1} more pairs" if len(pairs) > 1 else ""
        lines.append(f"the maps of {first!r} and {second!r} lie at the same place (correlation {value:.2f}){more}")
    single = [one.label for one in summaries if one.images == 1]
    if single:
        shown = ", ".join(single[:_SHOWN]) + (f" and {len(single) - _SHOWN} more" if len(single) > _SHOWN else "")
        lines.append(f"{len(single)} classes have one image: {shown}")
    if not samples.placed:
        lines.append(
            "the data state no places of objects: these are estimated from the pixels (GrabCut), with errors; boxes or "
            "masks make the audit sharper"
        )
    return lines
