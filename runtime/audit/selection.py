"""Selection of findings: experiments that hold after correction, and that no stronger finding explains."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from camrt.images import Image
from camrt.runtime.audit.causal import Measured
from camrt.runtime.audit.examples import examples
from camrt.runtime.audit.exchange import Prepare, in_same_light, region_exchange
from camrt.runtime.audit.finding import Finding
from camrt.runtime.audit.presence import (
    alike_backgrounds,
    alike_patches,
    alike_regions,
    class_with_evidence,
    losses,
    spread_of_patches,
)
from camrt.runtime.audit.search import SCREEN_T, Confirmed, Search
from camrt.runtime.audit.shifts import Suspect, shifts_of_class
from camrt.runtime.audit.significance import adjust

LEVEL: Final = 0.01
"""Largest corrected p-value of a finding."""
EFFECT: Final = 0.10
"""Least effect of a finding: ten of a hundred answers flip because of the evidence."""
_LEAST_REMOVED: Final = 0.04
"""Least effect on images of the class, unless the evidence is certainly none of the object.

A part of an object that makes others look like it is no shortcut."""
_LEAST_BOUND: Final = 0.05
"""Least lower end of the interval of the effect."""
_MOST_OF: Final = 0.6
"""Share of the largest effect of a class's places that its finding has at least."""
_ALIKE: Final = 0.5
"""Likeness of backgrounds from which on they are one that was made, see `camrt.runtime.audit.presence.likeness`."""
_ALIKE_PATCHES: Final = 0.12
"""The same for `camrt.runtime.audit.presence.alike_patches`."""
_ALIKE_ANYWHERE: Final = 0.45
"""The same for patches that may lie on objects, whose parts are alike, too."""
_SPREAD: Final = 0.14
"""Least `camrt.runtime.audit.presence.spread_of_patches` of a pattern that is not a part of the object."""
_ALIKE_REGIONS: Final = 0.22
"""The same for `camrt.runtime.audit.presence.alike_regions`."""
_CERTAIN: Final = 0.8
"""Share of a class's images whose object has a certain place, above which backgrounds need not be alike."""
_SHOWN: Final = 8
_Held = Sequence[tuple[float, Confirmed]]
"""Experiments with their corrected p-values."""


@dataclass(frozen=True, slots=True)
class Proved:
    """A finding with its experiment."""

    finding: Finding
    suspects: Sequence[Suspect]
    """The proved one, and wider places with at least its effect, which the evidence may fill, too."""


class Selection:
    """Chooses the findings among all second experiments."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self._pool = search.pool
        self._uncertain: dict[int, list[Confirmed]] = {}
        self.remarks: list[str] = []

    def findings(self, confirmed: Sequence[Confirmed]) -> list["Proved"]:
        """Return the findings, those with the largest effect first."""
        p_values = adjust([one.measured.p_value for one in confirmed], self._search.tests)
        by_class: dict[int, list[tuple[float, Confirmed]]] = {}
        for p, one in zip(p_values, confirmed, strict=True):
            if p <= LEVEL and self._is_large(one.suspect, one.measured):
                by_class.setdefault(one.class_id, []).append((float(p), one))
        found: list[Proved] = []
        accepted: list[int] = []
        for class_id in self._order(by_class):
            held = [one for one in by_class[class_id] if self._is_apart(one[1])]
            held = [one for one in held if not accepted or self._holds_without(one[1], accepted)]
            if held:
                found += self._of_class(held, accepted)
                accepted.append(class_id)
        for class_id, some in self._uncertain.items():
            if class_id not in accepted:
                one = max(some, key=lambda one: one.measured.effect)
                self.remarks.append(
                    f"the {one.suspect.words} may matter for {self._pool.model.labels[class_id]!r}: exchanging it "
                    f"flips {one.measured.effect:.0%} of the answers; the places of objects are estimates, so this is "
                    "no finding: state boxes or masks to prove it"
                )
        return sorted(found, key=lambda one: (-one.finding.effect, one.finding.p_value))

    def _order(self, by_class: Mapping[int, _Held]) -> list[int]:
        """Return the classes, that with the largest effect first; of two classes that which has the evidence."""
        order = sorted(by_class, key=lambda class_id: -max(one.measured.effect for _, one in by_class[class_id]))
        if len(np.unique(self._pool.samples.classes)) != 2 or len(order) != 2:
            return order
        suspects = [{_name(one.suspect): (p, one) for p, one in by_class[class_id]} for class_id in order]
        shared = [one for name, one in suspects[0].items() if name in suspects[1]]
        if not shared:
            return order
        name = _name(_strongest(shared)[1].suspect)
        owner = class_with_evidence(self._pool, [(one[name][1].class_id, one[name][1].suspect) for one in suspects])
        return sorted(order, key=lambda class_id: class_id != owner)

    def _is_apart(self, one: Confirmed) -> bool:
        """Tell whether evidence is no part of the object. Where it may be one, it must be alike in images.

        What was made looks the same in all images that have it; what is natural, such as leaves, does not. A pattern
        must also have changing places on the objects.
        """
        kind, part, anywhere = one.suspect.kind, one.suspect.part, one.suspect.anywhere
        if one.suspect.exchange is None or (self._is_certain(one.class_id) and not anywhere):
            return True
        if kind == "pattern":
            limit = _ALIKE_ANYWHERE if anywhere else _ALIKE_PATCHES
            alike = alike_patches(self._pool, one.class_id, part) >= limit
            alike = alike and spread_of_patches(self._pool, one.class_id, part) >= _SPREAD
            if not alike and anywhere:  # a part of the object, which need not be mentioned
                return False
        elif kind == "background":
            alike = alike_backgrounds(self._pool, one.class_id) >= _ALIKE
        else:
            alike = alike_regions(self._pool, one.class_id, part) >= _ALIKE_REGIONS
        if not alike:
            self._uncertain.setdefault(one.class_id, []).append(one)
        return alike

    def _is_large(self, suspect: Suspect, measured: Measured) -> bool:
        if suspect.shift is not None:
            apart = not suspect.shift.removable
        else:
            apart = self._pool.samples.placed and not suspect.anywhere
        return (
            measured.effect >= EFFECT
            and (apart or measured.proof.removed.effect >= _LEAST_REMOVED)
            and measured.interval[0] >= _LEAST_BOUND
        )

    def _is_certain(self, class_id: int) -> bool:
        samples = self._pool.samples
        return bool(samples.certain[samples.own(class_id)].mean() > _CERTAIN)

    def _holds_without(self, one: Confirmed, accepted: Sequence[int]) -> bool:
        """Tell whether a finding stays when classes with a stronger one give and get nothing.

        A mark of one class draws answers away from all others, which looks like evidence for them.
        """
        suspects = [one.suspect]
        if one.suspect.shift is not None:
            shifts = shifts_of_class(self._pool.samples, one.class_id, accepted)
            suspects = [other for other in shifts if other.kind == one.suspect.kind]
        for suspect in suspects:
            again = self._search.measure(suspect, one.class_id, without=accepted)
            if again is not None and self._is_large(suspect, again) and again.t > SCREEN_T:
                return True
        return False

    def _of_class(self, held: _Held, without: Sequence[int]) -> Iterator["Proved"]:
        """Yield one finding for all places together, and one for each property, unless another one explains it.

        A cast moves with a copied background, as traces of compression do, and a frame or a texture darkens the image.
        A place is a finding if its effect stays when the copied part gets the light or the compression of the other
        images first; else the property is one.
        """
        shifts = _best_of_each_kind([one for one in held if one[1].suspect.exchange is None])
        places = [one for one in held if one[1].suspect.exchange is not None]
        if places:
            p, first = _strongest(places)
            also = [one.suspect.words for _, one in places if one is not first]
            light = [one for _, one in shifts if one.suspect.kind in ("colour", "brightness")]
            strong = any(one.measured.effect >= _MOST_OF * first.measured.effect for one in light)
            if not (strong and self._is_light(first, places, without)) and not self._is_compression(
                first, [one.suspect for _, one in shifts], without
            ):
                wider = [one.suspect for _, one in places if one.measured.effect > first.measured.effect]
                yield self._finding(p, first, also, wider)
                shifts = [one for one in shifts if one[1] not in light]
        for p, one in shifts:
            yield self._finding(p, one)

    def _is_light(self, place: Confirmed, places: _Held, without: Sequence[int]) -> bool:
        """Tell whether the effect of a copied place is mostly that of its light."""
        if place.suspect.kind == "pattern":
            return False
        on_background = any(one.suspect.kind == "background" for _, one in places)
        if on_background and alike_backgrounds(self._pool, place.class_id) >= _ALIKE:
            return False  # a texture, whose mean colour differs as well
        return self._is_explained(place, in_same_light(self._pool), without)

    def _is_compression(self, place: Confirmed, suspects: Sequence[Suspect], without: Sequence[int]) -> bool:
        """Tell whether the effect of a copied background is mostly that of its compression."""
        shift = next((one.shift for one in suspects if one.kind == "compression"), None)
        if place.suspect.kind != "background" or shift is None:
            return False

        def compressed(_: int, donor: int) -> Image:
            return self._pool.fitted(shift.towards(self._pool.full(donor)))

        return self._is_explained(place, compressed, without)

    def _is_explained(self, place: Confirmed, prepared: Prepare, without: Sequence[int]) -> bool:
        """Tell whether most of the effect of a copied place goes when all donors are made alike in a property."""
        exchange = region_exchange(self._pool, place.suspect.part, prepared)
        same = Suspect(place.suspect.kind, place.suspect.words, exchange=exchange)
        rest = self._search.measure(same, place.class_id, without=without)
        return rest is None or rest.effect < _MOST_OF * place.measured.effect

    def _finding(self, p: float, one: Confirmed, also: Sequence[str] = (), wider: Sequence[Suspect] = ()) -> "Proved":
        measured, samples = one.measured, self._pool.samples
        label = self._pool.model.labels[one.class_id]
        numbers, lost = losses(self._pool, one.class_id, one.suspect)
        order = np.argsort(-lost, kind="stable")[:_SHOWN]
        affected = [numbers[number] for number in order if lost[number] > 0]
        finding = Finding(
            kind=one.suspect.kind,
            class_id=one.class_id,
            label=label,
            title=title(label, one.suspect, measured),
            effect=measured.effect,
            interval=measured.interval,
            p_value=p,
            images=[samples.sources[number].name for number in affected],
            proof=measured.proof,
            details={"place": one.suspect.words, "t": measured.t, "also": list(also)},
            examples=examples(self._pool, one.class_id, one.suspect, affected),
        )
        return Proved(finding, [one.suspect, *wider])


def title(label: str, suspect: Suspect, measured: Measured) -> str:
    """Return a finding in one sentence."""
    added, removed = measured.proof.added, measured.proof.removed
    words = (
        f"{label!r} is recognised by {suspect.subject}: adding it turns {added.treated:.0%} of other images into "
        f"{label!r} (control: {added.control:.0%})"
    )
    if suspect.shift is not None and not suspect.shift.removable:
        return f"{words}; it cannot be removed from images."
    return (
        f"{words}; removing it turns {removed.treated:.0%} of its images into others (control: {removed.control:.0%})."
    )


def _strongest(places: _Held) -> tuple[float, Confirmed]:
    """Return the smallest of the places that have most of the effect: a border is a part of the background."""
    most = max(one.measured.effect for _, one in places)
    strong = [one for one in places if one[1].measured.effect >= _MOST_OF * most]
    return min(strong, key=lambda one: (one[1].suspect.area, -one[1].measured.effect))


def _best_of_each_kind(shifts: _Held) -> list[tuple[float, Confirmed]]:
    best: dict[str, tuple[float, Confirmed]] = {}
    for p, one in shifts:
        kind = one.suspect.kind
        if kind not in best or one.measured.effect > best[kind][1].measured.effect:
            best[kind] = p, one
    return list(best.values())


def _name(suspect: Suspect) -> tuple[str, str]:
    """Return a name that is the same for all classes: the amount of a shift is not."""
    return suspect.kind, "" if suspect.exchange is None else suspect.words
