"""Search a model's answers on labelled images for shortcuts, and prove them by experiments."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from camrt.errors import MissingExtra, UsageError
from camrt.progress import Progress
from camrt.runtime.audit.causal import Experiments, Measured
from camrt.runtime.audit.duplicates import duplicate_remarks
from camrt.runtime.audit.exchange import PATCH, ImagePool, patch_exchange, region_exchange
from camrt.runtime.audit.finding import Audit, Finding
from camrt.runtime.audit.presence import alike_backgrounds, class_with_evidence, losses
from camrt.runtime.audit.regions import REGIONS, region_mask
from camrt.runtime.audit.samples import Samples, read_samples
from camrt.runtime.audit.shifts import Suspect, shifts_of_class
from camrt.runtime.audit.significance import adjust
from camrt.runtime.audit.summaries import summaries_of
from camrt.runtime.evaluation.datasets.labelled import Dataset, LabelledImage
from camrt.runtime.evaluation.datasets.read import read_dataset
from camrt.runtime.inference.model import Model

KINDS: Final = (*REGIONS, "pattern", "colour", "brightness", "sharpness", "compression")
"""Kinds of findings."""
PASSES: Final = 40_000
"""Forward passes of all experiments, unless another number is given."""
_SCREEN: Final = 24
"""Pairs of images for each direction of the first experiment."""
_CONFIRM: Final = 80
"""Pairs of the second experiment, which alone counts."""
_SCREEN_T: Final = 1.5
_SCREEN_EFFECT: Final = 0.04
_LEVEL: Final = 0.01
"""Largest corrected p-value of a finding."""
_EFFECT: Final = 0.10
"""Least effect of a finding: ten of a hundred answers flip because of the evidence."""
_LEAST_EFFECT: Final = 0.04
"""Least effect in each direction."""
_MOST_OF: Final = 0.6
"""Share of the largest effect of a class's regions that its finding has at least."""
_ALIKE: Final = 0.6
"""Likeness of backgrounds from which on they are one that was made, see `camrt.runtime.audit.presence.likeness`."""
_CERTAIN: Final = 0.8
"""Share of a class's images whose object has a certain place, above which backgrounds need not be alike."""
_PROGRESS_AFTER_S: Final = 2.0
_SHOWN: Final = 8
_FEWEST: Final = 4
"""Images that a class needs for experiments."""


def audit(
    model: Model,
    dataset: str | Path | Dataset | Iterable[LabelledImage],
    *,
    passes: int = PASSES,
    seed: int = 0,
) -> Audit:
    """Search for shortcuts: parts and properties of images that decide, and are not the object.

    Each suspicion is tested by experiments: images of other classes get the evidence, images of the class lose it, and
    the answers that flip are counted against the same change without the evidence. A finding needs both directions, a
    least effect, and a p-value that holds for the number of tests.

    Args:
        model: the model.
        dataset: a folder or a file of annotations (see `read_dataset`), a `Dataset`, or labelled images. Boxes and
            masks state the places of objects; else these are estimated.
        passes: forward passes of the experiments, about 2,500 a class; where it does not suffice for all, the most
            suspicious classes are tested.
        seed: of the choice of images.

    Raises:
        MissingExtra: scikit-learn (extra ``judge``) is not installed.
        UsageError: an argument is wrong, the model knows no class of the data, or no image can be classified.
        SourceError: the data cannot be read.
    """
    if passes < 0:
        raise UsageError(f"passes {passes}: at least 0")
    _check_packages()
    if isinstance(dataset, (str, Path)):
        dataset = read_dataset(dataset)
    elif not isinstance(dataset, Dataset):
        dataset = Dataset("", "folder", list(dataset))
    samples = read_samples(model, dataset)
    remarks = [*samples.remarks, *duplicate_remarks(samples.hashes, samples.contents, samples.classes, samples.names)]
    summaries, observations = summaries_of(samples, model)
    pool = ImagePool(model, samples)
    tested = _Tests(pool, passes, seed)
    findings = tested.run(_order(samples, [one.class_id for one in summaries]))
    remarks += tested.remarks + observations
    return Audit(
        model=str(model.path),
        dataset=dataset.name,
        images=len(samples.classes),
        classes=summaries,
        findings=findings,
        tests=tested.tests,
        tested_classes=tested.classes,
        passes=pool.passes,
        remarks=remarks,
    )


def _check_packages() -> None:
    try:
        import sklearn  # noqa: F401
    except ImportError as error:
        raise MissingExtra("an audit needs scikit-learn, which is not installed: pip install 'camrt[judge]'") from error


def _order(samples: Samples, class_ids: Sequence[int]) -> list[int]:
    """Return the classes that can be tested, the most suspicious first: those whose maps lie least on the object."""

    def suspicion(class_id: int) -> float:
        shares = samples.on_object[samples.of_class(class_id)]
        return float(np.nan_to_num(np.nanmean(shares) if np.isfinite(shares).any() else 0.0))

    return sorted(class_ids, key=suspicion)


@dataclass(frozen=True, slots=True)
class _Confirmed:
    suspect: Suspect
    class_id: int
    measured: Measured


class _Tests:
    """The experiments of an audit: a cheap one for each suspicion, and a second one on other pairs for the best."""

    def __init__(self, pool: ImagePool, passes: int, seed: int) -> None:
        self._pool = pool
        self._passes = passes
        self._experiments = Experiments(pool, seed)
        self.tests = 0
        self.classes = 0
        self.remarks: list[str] = []
        self._backgrounds: dict[int, float] = {}

    def run(self, class_ids: Sequence[int]) -> list[Finding]:
        """Test classes in the given order, as far as the budget allows, and return the findings."""
        confirmed: list[_Confirmed] = []
        few = 0
        counts = np.bincount(self._pool.samples.classes, minlength=self._pool.model.classes)
        with closing(Progress(len(class_ids), "classes", after_s=_PROGRESS_AFTER_S)) as progress:
            for class_id in class_ids:
                if counts[class_id] < _FEWEST:
                    few += 1
                elif len(class_ids) > 1 and self._pool.passes < self._passes:
                    confirmed += self._class(class_id)
                    self.classes += 1
                progress.step()
        if few:
            self.remarks.append(f"{few} classes have fewer than {_FEWEST} images: too few for experiments")
        if len(class_ids) == 1:
            self.remarks.append("the images have one class only; experiments need a second one")
        elif left := len(class_ids) - few - self.classes:
            self.remarks.append(
                f"{left} classes were not tested: {self._passes} forward passes were enough for {self.classes}; "
                "--passes sets the number"
            )
        return self._findings(confirmed)

    def _class(self, class_id: int) -> Iterator[_Confirmed]:
        for suspect in self._suspects(class_id):
            first = self._measure(suspect, class_id, _SCREEN)
            if first is None:
                continue
            self.tests += 1
            if first.t < _SCREEN_T or first.effect < _SCREEN_EFFECT:
                continue
            second = self._measure(suspect, class_id, _CONFIRM)
            if second is not None:
                yield _Confirmed(suspect, class_id, second)

    def _suspects(self, class_id: int) -> Iterator[Suspect]:
        for kind, regions in REGIONS.items():
            for region, words in regions.items():
                area = float(region_mask(region, 100, 100).mean())
                yield Suspect(kind, words, area, region_exchange(self._pool, region), region=region)
        yield Suspect("pattern", "warmest patch outside the object", PATCH**2, patch_exchange(self._pool, class_id))
        yield from shifts_of_class(self._pool.samples, class_id)

    def _measure(self, suspect: Suspect, class_id: int, pairs: int, without: Collection[int] = ()) -> Measured | None:
        if suspect.exchange is not None:
            return self._experiments.exchange(class_id, suspect.exchange, pairs, suspect.experiment, without)
        assert suspect.shift is not None
        return self._experiments.shift(class_id, suspect.shift, pairs, suspect.experiment, without)

    def _findings(self, confirmed: Sequence[_Confirmed]) -> list[Finding]:
        """Return the findings that hold after correction, and that no stronger finding explains."""
        p_values = adjust([one.measured.p_value for one in confirmed], self.tests)
        by_class: dict[int, list[tuple[float, _Confirmed]]] = {}
        for p, one in zip(p_values, confirmed, strict=True):
            if p <= _LEVEL and _is_large(one.measured) and self._is_background(one):
                by_class.setdefault(one.class_id, []).append((float(p), one))
        findings: list[Finding] = []
        accepted: list[int] = []
        order = sorted(by_class, key=lambda class_id: -_strength(by_class[class_id]))
        if len(np.unique(self._pool.samples.classes)) == 2 and len(order) == 2:
            owner = self._owner(by_class, order[0])
            order.sort(key=lambda class_id: class_id != owner)
        for class_id in order:
            some = by_class[class_id]
            held = some if not accepted else [one for one in some if self._holds_without(one[1], accepted)]
            if held:
                findings += self._of_class(held, accepted)
                accepted.append(class_id)
        for class_id, effect in self._backgrounds.items():
            if class_id not in accepted:
                self.remarks.append(
                    f"the likely background matters for {self._pool.model.labels[class_id]!r}: exchanging it flips "
                    f"{effect:.0%} of the answers; the places of objects are estimates, so this is no finding: state "
                    "boxes or masks to prove it"
                )
        return sorted(findings, key=lambda one: (-one.effect, one.p_value))

    def _is_background(self, one: _Confirmed) -> bool:
        """Tell whether a finding about the background is none about the object, whose place may be a poor estimate."""
        if (
            one.suspect.kind != "background"
            or self._pool.samples.certain[self._pool.samples.classes == one.class_id].mean() > _CERTAIN
        ):
            return True
        if alike_backgrounds(self._pool, one.class_id) >= _ALIKE:
            return True
        self._backgrounds[one.class_id] = one.measured.effect
        return False

    def _owner(self, by_class: Mapping[int, Sequence[tuple[float, _Confirmed]]], first: int) -> int:
        """Return which of two classes has the strongest evidence of all."""
        best = max((one for _, one in by_class[first]), key=lambda one: one.measured.effect)
        same = [
            (class_id, one.suspect)
            for class_id, some in by_class.items()
            for _, one in some
            if one.suspect.kind == best.suspect.kind and (one.suspect.shift or one.suspect.words == best.suspect.words)
        ]
        return class_with_evidence(self._pool, same)

    def _holds_without(self, one: _Confirmed, accepted: Sequence[int]) -> bool:
        """Tell whether a finding stays when classes with a stronger one give and get nothing.

        A mark of one class draws answers away from all others, which looks like evidence for them.
        """
        suspect: Suspect | None = one.suspect
        if one.suspect.shift is not None:
            shifts = shifts_of_class(self._pool.samples, one.class_id, accepted)
            suspect = next((other for other in shifts if other.kind == one.suspect.kind), None)
        if suspect is None:
            return False
        again = self._measure(suspect, one.class_id, _CONFIRM, accepted)
        return again is not None and again.p_value * self.tests <= 1 and again.t > _SCREEN_T and _is_large(again)

    def _of_class(self, held: Sequence[tuple[float, _Confirmed]], without: Sequence[int]) -> Iterator[Finding]:
        """Yield one finding for all places together, and one for each property, unless another one explains it.

        Of places that overlap the smallest with most of the effect counts. A cast moves with a copied background, and
        a frame darkens the border: the explanation with more effect is kept.
        """
        shifts = [one for one in held if one[1].suspect.exchange is None]
        places = [one for one in held if one[1].suspect.exchange is not None]
        if places:
            most = max(one.measured.effect for _, one in places)
            strong = [one for one in places if one[1].measured.effect >= _MOST_OF * most]
            first = min(strong, key=lambda one: (one[1].suspect.area, -one[1].measured.effect))
            also = [one.suspect.words for _, one in places if one is not first[1]]
            colour = [one for _, one in shifts if one.suspect.kind in ("colour", "brightness")]
            if not any(one.measured.effect >= most and self._explains(first[1], without) for one in colour):
                yield self._finding(*first, also)
                shifts = [one for one in shifts if one[1].measured.effect > most or one[1] not in colour]
        for p, one in shifts:
            yield self._finding(p, one, [])

    def _explains(self, place: _Confirmed, without: Sequence[int]) -> bool:
        """Tell whether the effect of a copied place is mostly that of its colour."""
        region = place.suspect.region
        if region is None:
            return False
        same = Suspect(
            place.suspect.kind, place.suspect.words, exchange=region_exchange(self._pool, region, same_colour=True)
        )
        rest = self._measure(same, place.class_id, _CONFIRM, without)
        return rest is None or rest.effect < _MOST_OF * place.measured.effect

    def _finding(self, p: float, one: _Confirmed, also: Sequence[str]) -> Finding:
        measured, samples = one.measured, self._pool.samples
        label = self._pool.model.labels[one.class_id]
        numbers, lost = losses(self._pool, one.class_id, one.suspect)
        order = np.argsort(-lost, kind="stable")[:_SHOWN]
        return Finding(
            kind=one.suspect.kind,
            class_id=one.class_id,
            label=label,
            title=title(label, one.suspect, measured),
            effect=measured.effect,
            interval=measured.interval,
            p_value=p,
            images=[samples.sources[numbers[number]].name for number in order if lost[number] > 0],
            proof=measured.proof,
            details={"place": one.suspect.words, "t": measured.t, "also": list(also)},
        )


def _is_large(measured: Measured) -> bool:
    return measured.effect >= _EFFECT and measured.least >= _LEAST_EFFECT


def _strength(some: Sequence[tuple[float, _Confirmed]]) -> float:
    return max(one.measured.effect for _, one in some)


def title(label: str, suspect: Suspect, measured: Measured) -> str:
    """Return a finding in one sentence."""
    added, removed = measured.proof.added, measured.proof.removed
    parts = []
    if added is not None:
        parts.append(
            f"adding it turns {added.treated:.0%} of other images into {label!r} (control: {added.control:.0%})"
        )
    if removed is not None:
        parts.append(
            f"removing it turns {removed.treated:.0%} of its images into others (control: {removed.control:.0%})"
        )
    return f"{label!r} is recognised by {suspect.subject}: {'; '.join(parts)}."
