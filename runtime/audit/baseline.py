"""Comparison of an audit with an earlier one: findings, accuracy and attention of each class."""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from camrt.errors import UsageError
from camrt.runtime.audit.rates import (
    Interval,
    difference_interval,
    mean_difference,
    paired_interval,
    paired_p,
    unpaired_p,
)
from camrt.runtime.audit.significance import adjust
from camrt.runtime.maps.attention_reference import report_file

LEVEL: Final = 0.05
"""Largest corrected p-value of a difference that is clear."""
ATTENTION: Final = {"on_object": "map on object", "centre": "map on centre", "entropy": "entropy of the map"}
"""Measures of attention that are compared, and their words."""
_FEWEST: Final = 4
State = Literal["new", "gone", "larger", "smaller", "same", "not tested"]
Row = Mapping[str, Any]
"""Values of an image, see `camrt.runtime.audit.images.image_rows`."""


@dataclass(frozen=True, slots=True)
class FindingChange:
    """A finding of one audit or of both."""

    state: State
    """``larger`` and ``smaller``: the effects differ beyond their intervals. ``not tested``: the new audit had no
    experiment on the class."""
    kind: str
    label: str
    title: str
    """Of the newer audit that has it."""
    before: float | None
    """Effect in the baseline."""
    after: float | None


@dataclass(frozen=True, slots=True)
class Difference:
    """A value of a class in both audits."""

    label: str
    measure: str
    """``accuracy``, or a key of `ATTENTION`."""
    before: float
    after: float
    interval: Interval
    """Of 95 %, of ``after - before``."""
    p_value: float
    """Corrected for all differences of the comparison."""
    paired: int
    """Images that both audits have, which alone are compared; 0: all images of both are compared, as different ones."""

    @property
    def clear(self) -> bool:
        """Tell whether the difference exceeds noise."""
        return self.p_value <= LEVEL and not self.interval[0] <= 0 <= self.interval[1]

    @property
    def is_loss(self) -> bool:
        """Tell whether accuracy was lost."""
        return self.measure == "accuracy" and self.after < self.before


@dataclass(frozen=True, slots=True)
class Comparison:
    """Differences of an audit to its baseline."""

    model: str
    """Of the baseline."""
    model_sha256: str
    dataset: str
    images: int
    """Of the baseline."""
    paired: int
    """Images that both have."""
    findings: Sequence[FindingChange]
    differences: Sequence[Difference]
    """The clear ones first, the largest first."""
    remarks: Sequence[str]

    def as_dict(self) -> dict[str, Any]:
        """Return the comparison for JSON."""
        values = asdict(self)
        for one, difference in zip(values["differences"], self.differences, strict=True):
            one["clear"] = difference.clear
        for one in (*values["differences"], *values["findings"]):
            one["class"] = one.pop("label")
        return values


def read_baseline(path: Path) -> Mapping[str, Any]:
    """Read the ``report.json`` of an audit.

    Raises: UsageError: nothing is there, or it is no report of an audit.
    """
    path = report_file(path)
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} is no report of camrt audit: {error}") from error
    keys = ("model", "dataset", "images", "findings", "classes", "per_image", "run", "reference")
    missing = [key for key in keys if not isinstance(value, dict) or key not in value]
    if missing:
        raise UsageError(f"{path} is no report of camrt audit: it has no {missing[0]!r}; create it with camrt audit -o")
    return dict(value)


def compare(
    baseline: Mapping[str, Any],
    findings: Sequence[Mapping[str, Any]],
    rows: Sequence[Row],
    tested: Collection[str],
) -> Comparison:
    """Compare an audit with an earlier one.

    Images are the same where name and content are. Where both audits have enough of the same images of a class, only
    these are compared, in pairs.

    Args:
        baseline: of `read_baseline`.
        findings: of the new audit, as in JSON.
        rows: of the new audit.
        tested: labels of the classes that the new audit has tested.

    Raises: UsageError: the report lacks values, or both have no class in common.
    """
    try:
        changes = _changes(baseline["findings"], findings, tested)
        old = _by_class(baseline["per_image"])
        new = _by_class(rows)
        shared = [label for label in new if label in old]
        if not shared:
            raise UsageError("the baseline has no class of this audit; audit the same data")
        found = [one for label in shared for one in _differences(label, old[label], new[label])]
        pairs = sum(len(_pairs(old[label], new[label])) for label in shared)
        details = baseline["model"], baseline["run"]["model_sha256"], baseline["dataset"], baseline["images"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"the baseline is damaged ({error}); create it again with camrt audit -o") from error
    corrected = adjust([p for _, p in found])
    differences = [Difference(**values, p_value=float(p)) for (values, _), p in zip(found, corrected, strict=True)]
    differences.sort(key=lambda one: (not one.clear, -abs(one.after - one.before)))
    remarks = [
        f"{name}: {len(labels)} classes, such as {sorted(labels)[0]!r}"
        for name, labels in (("only in the baseline", set(old) - set(new)), ("only in this audit", set(new) - set(old)))
        if labels
    ]
    return Comparison(*details, pairs, changes, differences, remarks)


def _changes(
    before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]], tested: Collection[str]
) -> list[FindingChange]:
    old = {_key(one): one for one in before}
    changes = []
    for one in after:
        earlier = old.pop(_key(one), None)
        state: State = "new" if earlier is None else _state(earlier, one)
        effect = None if earlier is None else float(earlier["effect"])
        changes.append(FindingChange(state, one["kind"], one["class"], one["title"], effect, float(one["effect"])))
    for one in old.values():
        gone: State = "gone" if one["class"] in tested else "not tested"
        changes.append(FindingChange(gone, one["kind"], one["class"], one["title"], float(one["effect"]), None))
    return changes


def _key(finding: Mapping[str, Any]) -> tuple[str, str, str]:
    # The amount of a shift, in brackets, differs from audit to audit.
    return finding["kind"], finding["class"], str(finding["details"]["place"]).partition(" (")[0]


def _state(before: Mapping[str, Any], after: Mapping[str, Any]) -> State:
    half = math.hypot(*((one["interval"][1] - one["interval"][0]) / 2 for one in (before, after)))
    difference = after["effect"] - before["effect"]
    return "same" if abs(difference) <= half else "larger" if difference > 0 else "smaller"


def _by_class(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["class"], []).append(row)
    return found


def _pairs(old: Sequence[Row], new: Sequence[Row]) -> list[tuple[Row, Row]]:
    known = {(row["file"], row["sha1"]): row for row in old}
    return [(known[key], row) for row in new if (key := (row["file"], row["sha1"])) in known]


def _differences(label: str, old: Sequence[Row], new: Sequence[Row]) -> list[tuple[dict[str, Any], float]]:
    """Return the values of `Difference` without the corrected p-value, and the p-value."""
    pairs = _pairs(old, new)
    same = len(pairs) >= max(_FEWEST, min(len(old), len(new)) // 2)
    if same:
        old, new = [first for first, _ in pairs], [second for _, second in pairs]
    if min(len(old), len(new)) < _FEWEST:
        return []
    rights = [[bool(row["right"]) for row in rows] for rows in (old, new)]
    counts = [sum(some) for some in rights]
    if same:
        gained = sum(second and not first for first, second in zip(*rights, strict=True))
        lost = sum(first and not second for first, second in zip(*rights, strict=True))
        interval, p = paired_interval(gained, lost, len(pairs)), paired_p(gained, lost)
    else:
        four = counts[0], len(old), counts[1], len(new)
        interval, p = difference_interval(*four), unpaired_p(*four)
    common = {"label": label, "paired": len(pairs) if same else 0}
    values = {"measure": "accuracy", "before": counts[0] / len(old), "after": counts[1] / len(new)}
    found = [({**common, **values, "interval": interval}, p)]
    for key in ATTENTION:
        first, second = (np.array([row[key] for row in rows], np.float64) for rows in (old, new))
        if same:
            both = np.isfinite(first) & np.isfinite(second)
            first, second = first[both], second[both]
        first, second = first[np.isfinite(first)], second[np.isfinite(second)]
        if min(len(first), len(second)) >= _FEWEST:
            interval, p = mean_difference(first, second, paired=same)
            values = {"measure": key, "before": float(first.mean()), "after": float(second.mean())}
            found.append(({**common, **values, "interval": interval}, p))
    return found
