"""Experiments by forward passes: answers that flip when images get suspected evidence, or lose it."""

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from camrt.errors import SourceError
from camrt.images import Image
from camrt.runtime.audit.exchange import Change, Exchange, ImagePool
from camrt.runtime.audit.finding import Arm, Proof
from camrt.runtime.audit.shifts import Shift, Suspect
from camrt.runtime.audit.significance import F64, mean_interval, p_of_t, t_value

_TRIES: Final = 3
_FEWEST_PAIRS: Final = 4


@dataclass(frozen=True, slots=True)
class Measured:
    """An experiment with its proof."""

    proof: Proof
    effect: float
    """Share of the answers that flip because of the evidence, see `_measured`."""
    t: float
    """Smaller t of the directions that count."""
    p_value: float
    """Larger p of these directions, one-sided: each must be shown (intersection-union test)."""
    interval: tuple[float, float]


class Experiments:
    """Experiments on the images of an audit."""

    def __init__(self, pool: ImagePool, seed: int = 0) -> None:
        self.pool = pool
        self._seed = seed
        self._count = 0

    def measure(self, suspect: Suspect, class_id: int, pairs: int, without: Collection[int] = ()) -> Measured | None:
        """Run the experiment of a suspicion; None: there are too few images for it.

        Args:
            suspect: the suspicion.
            class_id: the suspected class.
            pairs: recipients for each direction.
            without: other classes whose images are left out, because they have a shortcut of their own.
        """
        before = self.pool.passes
        samples = self.pool.samples
        arms = self.arms(suspect, samples.own(class_id), samples.others(class_id, without), pairs)
        if arms is None:
            return None
        added, removed = (self._measure_arm(class_id, arm) for arm in arms)
        removable = suspect.shift is None or suspect.shift.removable
        return _measured(added, removed, suspect.experiment, self.pool.passes - before, removable)

    def arms(
        self, suspect: Suspect, own: NDArray[np.intp], others: NDArray[np.intp], pairs: int
    ) -> "tuple[ChangedImages, ChangedImages] | None":
        """Return the changed images of both directions: others get the evidence, own ones lose it; None: too few.

        Args:
            suspect: the suspicion.
            own: numbers of images of the suspected class.
            others: numbers of images of other classes.
            pairs: recipients for each direction.
        """
        random = self._random()
        if min(len(own), len(others)) < 2:
            return None
        if suspect.shift is not None:
            return self._shifted(random, suspect.shift, own, others, pairs)
        assert suspect.exchange is not None
        return self._exchanged(random, suspect.exchange, own, others, pairs)

    def _exchanged(
        self,
        random: np.random.Generator,
        change: Exchange,
        own: NDArray[np.intp],
        others: NDArray[np.intp],
        pairs: int,
    ) -> "tuple[ChangedImages, ChangedImages] | None":
        arms = []
        strong_own, strong_others = (self._strongest(random, some, change, pairs) for some in (own, others))
        for function, recipients, adding in ((change.add, others, True), (change.remove, strong_own, False)):
            # Donors of the class are first, those of other classes second.
            images: tuple[list[Image], list[Image]] = [], []
            used: list[tuple[int, int, int]] = []
            donors = zip(
                _cycle(random, strong_own, _TRIES * pairs), _cycle(random, strong_others, _TRIES * pairs), strict=True
            )
            for recipient in _cycle(random, recipients, pairs):
                for first, second in donors:
                    if recipient in (first, second):
                        continue
                    changed = [self._changed(function, int(recipient), int(donor)) for donor in (first, second)]
                    if changed[0] is not None and changed[1] is not None:
                        images[0].append(changed[0])
                        images[1].append(changed[1])
                        used.append((int(recipient), int(first), int(second)))
                        break
            if len(used) < max(_FEWEST_PAIRS, pairs // 8):
                return None
            independent = min(len({one[column] for one in used}) for column in range(3))
            arms.append(ChangedImages(*images, [one[0] for one in used], independent, adding))
        return arms[0], arms[1]

    def _shifted(
        self, random: np.random.Generator, shift: Shift, own: NDArray[np.intp], others: NDArray[np.intp], pairs: int
    ) -> "tuple[ChangedImages, ChangedImages] | None":
        arms = []
        for recipients, change, keep, adding in (
            (others, shift.towards, shift.usual, True),
            (own, shift.away, shift.kept, False),
        ):
            numbers, images = [], []
            for number in random.permutation(recipients)[:pairs].tolist():
                with suppress(SourceError):  # the file has gone since it was classified
                    images.append(self.pool.full(number) if shift.whole_file else self.pool[number][0])
                    numbers.append(number)
            if not numbers:
                return None
            changed = [[function(image) for image in images] for function in (change, keep)]
            if shift.whole_file:
                changed = [[self.pool.fitted(image) for image in some] for some in changed]
            evident, plain = changed if adding else changed[::-1]
            arms.append(ChangedImages(evident, plain, numbers, len(numbers), adding))
        return arms[0], arms[1]

    def _strongest(
        self, random: np.random.Generator, numbers: NDArray[np.intp], change: Exchange, pairs: int
    ) -> NDArray[np.intp]:
        """Return the half of the images with the most evidence, at most ``pairs`` of them; all without a measure."""
        if change.evidence is None:
            return numbers
        chosen = random.permutation(numbers)[: 2 * pairs]
        evidence = np.full(len(chosen), -np.inf)
        for index, number in enumerate(chosen.tolist()):
            with suppress(SourceError):  # the file has gone since it was classified
                evidence[index] = change.evidence(number)
        return np.asarray(chosen[np.argsort(-evidence, kind="stable")][: max(2, (len(chosen) + 1) // 2)])

    def _random(self) -> np.random.Generator:
        self._count += 1
        return np.random.default_rng((self._seed, self._count))

    def _changed(self, function: Change, recipient: int, donor: int) -> Image | None:
        try:
            return function(recipient, donor)
        except SourceError:  # the file has gone since it was classified
            return None

    def _measure_arm(self, class_id: int, changed: "ChangedImages") -> "_Pairs":
        adding = changed.adding
        treated, control = (changed.evident, changed.plain) if adding else (changed.plain, changed.evident)
        logits = self.pool.logits([*treated, *control])
        others = np.delete(logits, class_id, axis=1)
        margins = logits[:, class_id] - (others.max(axis=1) if others.size else 0.0)
        margins = margins if adding else -margins
        first, second = margins[: len(treated)].astype(np.float64), margins[len(treated) :].astype(np.float64)
        arm = Arm(
            images=len(treated),
            independent=changed.independent,
            treated=float((first > 0).mean()),
            control=float((second > 0).mean()),
            t=t_value(first - second, changed.independent),
        )
        return _Pairs(arm, (first > 0).astype(np.float64) - (second > 0))


@dataclass(frozen=True, slots=True)
class ChangedImages:
    """The images of one direction of an experiment, at the network's size: in pairs, with and without evidence."""

    evident: list[Image]
    plain: list[Image]
    recipients: list[int]
    """Numbers of the images that were changed."""
    independent: int
    """Number of independent pairs: the fewest different recipients or donors."""
    adding: bool
    """The recipients are of other classes and get the evidence; False: they are of the class and lose it."""


@dataclass(frozen=True, slots=True)
class _Pairs:
    arm: Arm
    flips: F64


def _cycle(random: np.random.Generator, numbers: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """Return ``count`` of the numbers in random order; each occurs again only after all others."""
    rounds = [random.permutation(numbers) for _ in range(-(-count // len(numbers)))]
    return np.concatenate(rounds)[:count]


def _measured(added: _Pairs, removed: _Pairs, words: str, passes: int, removable: bool) -> Measured:
    """Return the figures of an experiment.

    The effect is the mean of both directions, or that of the second one where it is larger: images of the class that
    need the evidence show its use, even where it is too weak to turn images of others. Of evidence that cannot be
    removed, only the first direction counts.
    """
    both = [added, removed] if removable else [added]
    counted = [removed] if removable and removed.arm.effect > added.arm.effect else both
    return Measured(
        proof=Proof(words, added=added.arm, removed=removed.arm, passes=passes),
        effect=float(np.mean([one.arm.effect for one in counted])),
        t=min(one.arm.t for one in both),
        p_value=max(p_of_t(one.arm.t, one.arm.independent) for one in both),
        interval=mean_interval(*((one.flips, one.arm.independent) for one in counted)),
    )
