"""Result of an evaluation: values, intervals and baselines; as a table, as JSON, and for each image."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from camrt.errors import UsageError
from camrt.kernels.localization import CUTS
from camrt.runtime.evaluation.bootstrap import drawn_values, interval, value_of
from camrt.runtime.evaluation.faithfulness import Cost
from camrt.runtime.evaluation.map_sources import MODEL
from camrt.runtime.evaluation.metrics import BY_NAME, METRICS, Rows
from camrt.runtime.maps.result import BOX_THRESHOLD

Interval = tuple[float, float]
MOST_AGREEMENT: Final = 0.5
"""Rank correlation above which a map fails a sanity check: half of it stays without its class."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """An image that could not be evaluated."""

    file: str
    reason: str


@dataclass(frozen=True, slots=True)
class Difference:
    """Difference of two models in one metric, on the same images."""

    metric: str
    value: float
    other: float
    difference: float
    """``other`` minus ``value``."""
    interval: Interval
    """95 % of the differences on images that are drawn for both models alike."""

    @property
    def clear(self) -> bool:
        """Tell whether the interval excludes 0."""
        return self.interval[0] > 0 or self.interval[1] < 0


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Metrics of a model on labelled images.

    Values are fractions in [0, 1]. ROAD and the agreements of the sanity checks may be negative.
    """

    model: str
    dataset: str
    format: str
    images: int
    values: Mapping[str, float]
    """By metric, of the model."""
    intervals: Mapping[str, Interval]
    """By metric, the 95 % bootstrap interval over the images."""
    baselines: Mapping[str, Mapping[str, float]]
    """By baseline and metric."""
    baseline_intervals: Mapping[str, Mapping[str, Interval]]
    threshold: float
    """Threshold of the boxes in use, a fraction of the heatmap's maximum."""
    best_threshold: float | None
    """The threshold that gives ``max_box_acc``, chosen with hindsight."""
    ms_per_image: float | None
    """Median milliseconds of preprocessing, inference and one map; None: the maps are stored."""
    cost: Cost | None
    """What the metrics of faithfulness took; None: they were not measured."""
    refine: str
    """Refinements of the maps, with commas between them; ``none``: the plain maps."""
    per_image: Sequence[Mapping[str, Any]]
    """One entry for each object: file, class, predicted class, scores."""
    skipped: Sequence[Skipped]
    remarks: Sequence[str]
    names: Sequence[str] = field(repr=False)
    """Names of the evaluated images, in order."""
    rows: Rows = field(repr=False)

    @property
    def title(self) -> str:
        """Name of the model file without its suffix, and the refinements."""
        return Path(self.model).stem + ("" if self.refine == "none" else f", {self.refine}")

    def as_dict(self) -> dict[str, Any]:
        """Return everything but the images' entries; a metric that the data do not allow is None."""
        every = {metric.name: self.values.get(metric.name) for metric in METRICS}
        return {
            "model": self.model,
            "dataset": self.dataset,
            "format": self.format,
            "images": self.images,
            **every,
            "ms_per_image": self.ms_per_image,
            "faithfulness": None if self.cost is None else self.cost.as_dict(),
            "refine": self.refine,
            "threshold": self.threshold,
            "best_threshold": self.best_threshold,
            "confidence_interval": {name: list(ends) for name, ends in self.intervals.items()},
            "baselines": {name: dict(values) for name, values in self.baselines.items()},
            "baseline_confidence_interval": {
                name: {metric: list(ends) for metric, ends in intervals.items()}
                for name, intervals in self.baseline_intervals.items()
            },
            "skipped": [asdict(one) for one in self.skipped],
            "remarks": list(self.remarks),
        }

    def to_json(self) -> str:
        """Return `as_dict` as JSON."""
        return json.dumps(self.as_dict(), indent=2, ensure_ascii=False)

    def to_csv(self) -> str:
        """Return ``per_image`` as CSV, with a title in the first line."""
        titles = list(dict.fromkeys(key for line in self.per_image for key in line))
        text = io.StringIO()
        writer = csv.DictWriter(text, titles, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.per_image)
        return text.getvalue()

    def table(self) -> str:
        """Return the metrics with their intervals and the baselines, as text in columns."""
        names = list(self.baselines)
        header = ["", self.title, "95 % interval", *(name.replace("_", " ") for name in names)]
        lines = [header]
        for metric in METRICS:
            if metric.name in self.values:
                low, high = self.intervals[metric.name]
                others = [self.baselines[name].get(metric.name) for name in names]
                cells = ["" if other is None else f"{other:.3f}" for other in others]
                lines.append([metric.title, f"{self.values[metric.name]:.3f}", f"{low:.3f} - {high:.3f}", *cells])
        if self.ms_per_image is not None:
            lines.append(["ms per image", f"{self.ms_per_image:.1f}", "", *([""] * len(names))])
        return in_columns(lines)

    def compare(self, other: "Evaluation") -> list[Difference]:
        """Return the differences to another model on the images that both have, for the metrics that both have.

        Raises:
            UsageError: the models have no image in common.
        """
        places = {name: number for number, name in enumerate(other.names)}
        pairs = [(number, places[name]) for number, name in enumerate(self.names) if name in places]
        if not pairs:
            raise UsageError(f"{self.model} and {other.model} have no image in common")
        keep, other_keep = np.array(pairs, np.intp).T
        differences = []
        for name in self.values:
            if name not in other.values:
                continue
            # The metrics of faithfulness have some of the images only.
            both = (self.rows.table(name)[1][keep] > 0) & (other.rows.table(name)[1][other_keep] > 0)
            if not both.any():
                continue
            first = drawn_values(BY_NAME[name], self.rows, keep[both])
            second = drawn_values(BY_NAME[name], other.rows, other_keep[both])
            value, others = (
                value_of(BY_NAME[name], self.rows, keep[both]),
                value_of(BY_NAME[name], other.rows, other_keep[both]),
            )
            differences.append(Difference(name, value, others, others - value, interval(second - first)))
        return differences


def difference_table(differences: Sequence[Difference], model: str, other: str) -> str:
    """Return the differences of two models, named as `Evaluation.title`, as text in columns."""
    lines = [["", model, other, "difference", "95 % interval, paired", ""]]
    for one in differences:
        low, high = one.interval
        better = (one.difference > 0) != BY_NAME[one.metric].lower_is_better
        verdict = ("better" if better else "worse") if one.clear else "no clear difference"
        values = f"{one.value:.3f}", f"{one.other:.3f}", f"{one.difference:+.3f}"
        lines.append([BY_NAME[one.metric].title, *values, f"{low:+.3f} - {high:+.3f}", verdict])
    return in_columns(lines)


def in_columns(lines: Sequence[Sequence[str]]) -> str:
    """Return cells in columns of equal width; the first column to the left, the others to the right."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _sanity_warnings(values: Mapping[str, float]) -> list[str]:
    """Return a line about each sanity check that the maps fail: their agreement does not fall."""
    checks = {"permuted_weights": "the weights of the class are permuted", "other_class": "the class is another one"}
    return [
        f"sanity check failed: if {change}, the maps stay the same (rank correlation {values[name]:.2f}); they show "
        "where the network is active, and hardly the class"
        for name, change in checks.items()
        if values.get(name, 0.0) > MOST_AGREEMENT
    ]


def evaluation_of(
    *,
    model: str,
    dataset: str,
    form: str,
    rows: Mapping[str, Rows],
    per_image: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    skipped: Sequence[Skipped],
    remarks: Sequence[str],
    ms_per_image: float | None,
    cost: Cost | None,
    refine: str = "none",
) -> Evaluation:
    """Compute values and intervals of the rows of all images, by map source."""
    values: dict[str, dict[str, float]] = {}
    intervals: dict[str, dict[str, Interval]] = {}
    for name, some in rows.items():
        metrics = [metric for metric in some.measured() if not math.isnan(value_of(metric, some))]
        values[name] = {metric.name: value_of(metric, some) for metric in metrics}
        intervals[name] = {metric.name: interval(drawn_values(metric, some)) for metric in metrics}
    remarks = [*remarks, *_sanity_warnings(values[MODEL])]
    best = None
    if "max_box_acc" in values[MODEL]:
        best = float(rows[MODEL].table("max_box_acc")[0].sum(axis=0, dtype=np.int64).argmax() / CUTS)
    return Evaluation(
        model=model,
        dataset=dataset,
        format=form,
        images=len(names),
        values=values.pop(MODEL),
        intervals=intervals.pop(MODEL),
        baselines={name: one for name, one in values.items() if one},
        baseline_intervals={name: one for name, one in intervals.items() if one},
        threshold=BOX_THRESHOLD,
        best_threshold=best,
        ms_per_image=ms_per_image,
        cost=cost,
        refine=refine,
        per_image=per_image,
        skipped=skipped,
        remarks=remarks,
        names=names,
        rows=rows[MODEL],
    )
