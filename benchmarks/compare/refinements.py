"""Measure gain and cost of refined maps, larger inputs and finer maps, chosen on some photos and reported on others."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from camrt.benchmarks.report import tables
from camrt.images import Image, read_image
from camrt.interleaved_timing import interleave, median_ms, median_ratio
from camrt.runtime.evaluation.bootstrap import drawn_values, interval, value_of
from camrt.runtime.evaluation.class_matching import match_classes
from camrt.runtime.evaluation.datasets.labelled import Dataset
from camrt.runtime.evaluation.map_sources import MapSource
from camrt.runtime.evaluation.metrics import BY_NAME, Rows
from camrt.runtime.evaluation.scoring import best_class, score_map, truth_of
from camrt.runtime.inference.model import Model
from camrt.runtime.maps.refine_frame import refine_frame
from camrt.runtime.maps.refinement import NEED_WEIGHTS, parse_refinements
from camrt.runtime.maps.result import Result

REFINEMENTS: Final = (
    *("none", "clamp", "ivr", "pc1", "flip", "clamp,ivr", "clamp,pc1", "pc1,ivr", "clamp,pc1,ivr"),
    *("clamp,flip", "ivr,flip", "pc1,flip", "clamp,pc1,ivr,flip"),
)
LIMITS: Final = (1.05, 2.05, 4.1)
"""Costs up to which a variant is chosen, as ratios to the plain map: none, twice, four times, with the spread of the
timing. An input of 320 has 2.04 times as many pixels as one of 224."""
PLAIN: Final = ("as trained", "none")
_METRIC: Final = "max_box_acc_v2"
_METRICS: Final = (_METRIC, "box_acc_at_threshold", "pointing_game")


@dataclass(slots=True)
class _Variant:
    """A size of the network and refinements, with the rows of all photos."""

    size: str
    refine: str
    rows: Rows = field(default_factory=lambda: Rows([BY_NAME[name] for name in _METRICS]))
    cost: float = 1.0

    @property
    def name(self) -> tuple[str, str]:
        return self.size, self.refine


def is_for_choosing(file: str) -> bool:
    """Tell whether a photo serves to choose a variant; the others serve to report it.

    Args:
        file: name of the photo. The first byte of its SHA-256 is even for choosing.
    """
    return hashlib.sha256(Path(file).name.encode()).digest()[0] % 2 == 0


def measure_refinements(models: Mapping[str, Model], dataset: Dataset, rounds: int) -> dict[str, Any]:
    """Return quality and cost of each size with each refinement that the head allows.

    Args:
        models: by size; the first is as trained.
        dataset: photos with boxes.
        rounds: rounds of the timing.
    """
    variants: list[_Variant] = []
    names: list[str] = []
    for size, model in models.items():
        linear = model.decoder.cam_weights is not None
        some = [_Variant(size, refine) for refine in REFINEMENTS if linear or _fits_class_maps(refine)]
        names = _score(model, dataset, some)
        variants += some
    _time(models, variants, read_image(_path(dataset)), rounds)
    choosing = np.array([is_for_choosing(name) for name in names])
    plain = variants[0]
    rows = [_row(variant, plain, choosing) for variant in variants]
    return {
        "photos": {"choosing": int(choosing.sum()), "reporting": int((~choosing).sum())},
        "variants": rows,
        "chosen": [_choose(rows, limit) for limit in LIMITS],
    }


def _fits_class_maps(refine: str) -> bool:
    return not set(NEED_WEIGHTS) & set(parse_refinements(refine))


def _path(dataset: Dataset) -> Path:
    path = dataset.images[0].image
    assert isinstance(path, Path)
    return path


def _score(model: Model, dataset: Dataset, variants: Sequence[_Variant]) -> list[str]:
    """Add the rows of every photo to the variants of one size; returns the names of the photos."""
    matching = match_classes(dataset, model.labels)
    names = []
    for labelled in dataset.images:
        known = [(target, ids) for target in labelled.targets if (ids := matching.class_ids(target))]
        if not known:
            continue
        assert isinstance(labelled.image, Path)
        image = read_image(labelled.image)
        passes = _Passes(model)
        for variant in variants:
            result = refine_frame(passes, image, parse_refinements(variant.refine))
            scores = []
            for target, ids in known:
                source = MapSource(result.visible_cam(best_class(result, ids)), result.placement)
                right = result.class_id in ids
                scores.append(score_map(source, truth_of(labelled, target, image), right=right, wanted=_METRICS))
            variant.rows.add(scores)
        names.append(labelled.name)
    return names


class _Passes:
    """The passes of one photo, each computed once: its plain one, then its mirrored one."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._results: dict[bytes, Result] = {}

    def __call__(self, frame: Image) -> Result:
        key = hashlib.sha256(frame.tobytes()).digest()
        if key not in self._results:
            self._results[key] = self._model(frame)
        return self._results[key]


def _time(models: Mapping[str, Model], variants: Sequence[_Variant], image: Image, rounds: int) -> None:
    """Measure the cost of every variant: its passes of the network, and its map.

    Passes and maps are timed apart, in turn with their like, because the time of a map would drown in that of a pass.
    """
    results = {size: model(image) for size, model in models.items()}

    def draw(variant: _Variant) -> Callable[[], object]:
        refined = results[variant.size].refined(parse_refinements(variant.refine))
        return refined.visible_cam

    passes = interleave({size: partial(model, image) for size, model in models.items()}, rounds, turn=3)
    maps = median_ms(interleave({"|".join(variant.name): draw(variant) for variant in variants}, rounds))
    first = variants[0]
    plain_map = maps["|".join(first.name)]
    plain = median_ms(passes)[first.size] + plain_map
    for variant in variants[1:]:
        ratio = median_ratio(passes[variant.size], to=passes[first.size]) if variant.size != first.size else 1.0
        count = 2 if "flip" in parse_refinements(variant.refine) else 1
        variant.cost = count * ratio + (maps["|".join(variant.name)] - plain_map) / plain


def _row(variant: _Variant, plain: _Variant, choosing: NDArray[np.bool_]) -> dict[str, Any]:
    row: dict[str, Any] = {"size": variant.size, "refine": variant.refine, "cost": variant.cost}
    for part, keep in (("choosing", choosing), ("reporting", ~choosing), ("all", np.ones(len(choosing), np.bool_))):
        numbers = np.flatnonzero(keep)
        row[part] = {}
        for name in _METRICS:
            metric = BY_NAME[name]
            value, before = (value_of(metric, one.rows, numbers) for one in (variant, plain))
            drawn = drawn_values(metric, variant.rows, numbers) - drawn_values(metric, plain.rows, numbers)
            row[part][name] = {"value": value, "difference": value - before, "interval": list(interval(drawn))}
    return row


def _choose(rows: Sequence[Mapping[str, Any]], limit: float) -> dict[str, Any]:
    """Return the best variant on the photos for choosing, within a cost; of equal ones the cheapest."""
    allowed = [row for row in rows if row["cost"] <= limit or (row["size"], row["refine"]) == PLAIN]
    best = max(allowed, key=lambda row: (row["choosing"][_METRIC]["value"], -row["cost"]))
    return {"limit": limit, "size": best["size"], "refine": best["refine"]}


def refinement_table(report: Mapping[str, Any]) -> str:
    """Return the table of one network: each size alone, each refinement alone, and what was chosen."""
    chosen = {(one["size"], one["refine"]): f"chosen up to {one['limit']:.0f}x" for one in report["chosen"][::-1]}
    lines = []
    for row in report["variants"]:
        name = row["size"], row["refine"]
        if PLAIN[0] in name or PLAIN[1] in name or name in chosen:
            lines.append(
                (
                    row["size"],
                    row["refine"],
                    f"{row['cost']:.2f}x",
                    f"{row['choosing'][_METRIC]['value']:.3f}",
                    *(_cell(row, part, _METRIC, name == PLAIN) for part in ("reporting", "all")),
                    _cell(row, "all", "box_acc_at_threshold", name == PLAIN),
                    chosen.get(name, ""),
                )
            )
    photos = report["photos"]
    total = photos["choosing"] + photos["reporting"]
    titles = (
        "input",
        "refine",
        "cost",
        f"V2, {photos['choosing']} photos for choosing",
        f"V2, {photos['reporting']} other photos",
        f"V2, all {total}",
        f"box at the threshold in use, all {total}",
        "",
    )
    return tables.table(titles, lines)


def _cell(row: Mapping[str, Any], part: str, metric: str, plain: bool) -> str:
    one = row[part][metric]
    low, high = one["interval"]
    return f"{one['value']:.3f}" if plain else f"{one['value']:.3f} ({low:+.3f} to {high:+.3f})"
