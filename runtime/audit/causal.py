"""Experiments by forward passes: answers that flip when images get suspected evidence, or lose it."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from camrt.errors import SourceError
from camrt.images import Image
from camrt.runtime.audit.exchange import Change, Exchange, ImagePool, Shift
from camrt.runtime.audit.finding import Arm, Proof
from camrt.runtime.audit.significance import F64, mean_interval, p_of_t, t_value

_TRIES: Final = 3


@dataclass(frozen=True, slots=True)
class Measured:
    """An experiment with its proof."""

    proof: Proof
    effect: float
    """Mean effect of the directions."""
    least: float
    """Smaller effect of the directions."""
    t: float
    """Smaller t of the directions."""
    p_value: float
    """Larger p of the directions, one-sided: both must be shown (intersection-union test)."""
    interval: tuple[float, float]


class Experiments:
    """Experiments on the images of an audit."""

    def __init__(self, pool: ImagePool, seed: int = 0) -> None:
        self.pool = pool
        self._seed = seed
        self._count = 0

    def exchange(
        self, class_id: int, change: Exchange, pairs: int, words: str, without: Collection[int] = ()
    ) -> Measured | None:
        """Exchange evidence between images of a class and of others; None: there are too few images for it.

        Args:
            class_id: the suspected class.
            change: the changes.
            pairs: recipients for each direction.
            words: the experiment in words, for the proof.
            without: other classes whose images are left out, because they have a shortcut of their own.
        """
        random = self._random()
        own, others = self._groups(class_id, without)
        if min(len(own), len(others)) < 2:
            return None
        before = self.pool.passes
        arms = []
        for function, recipients, adding in ((change.add, others, True), (change.remove, own, False)):
            images: tuple[list[Image], list[Image]] = [], []
            used: list[tuple[int, int, int]] = []
            # Donors of the class are first, those of other classes second.
            donors = zip(_cycle(random, own, _TRIES * pairs), _cycle(random, others, _TRIES * pairs), strict=True)
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
            if len(used) < max(4, pairs // 4):
                return None
            independent = min(len({one[column] for one in used}) for column in range(3))
            treated, control = images if adding else images[::-1]
            arms.append(self._arm(class_id, treated, control, independent, adding=adding))
        return _measured(arms, words, self.pool.passes - before)

    def shift(
        self, class_id: int, shift: Shift, pairs: int, words: str, without: Collection[int] = ()
    ) -> Measured | None:
        """Shift a property of whole images towards a class and away from it; None: there are too few images.

        Args: as for `exchange`.
        """
        random = self._random()
        own, others = self._groups(class_id, without)
        if min(len(own), len(others)) < 2:
            return None
        before = self.pool.passes
        arms = []
        for recipients, change, keep, adding in (
            (others, shift.towards, shift.usual, True),
            (own, shift.away, shift.kept, False),
        ):
            numbers = random.permutation(recipients)[:pairs]
            images = [self.pool.full(number) if shift.whole_file else self.pool[number][0] for number in numbers]
            treated = [change(image) for image in images]
            control = [keep(image) for image in images]
            if shift.whole_file:
                treated, control = ([self.pool.fitted(image) for image in some] for some in (treated, control))
            arms.append(self._arm(class_id, treated, control, len(numbers), adding=adding))
        return _measured(arms, words, self.pool.passes - before)

    def _groups(self, class_id: int, without: Collection[int]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        classes = self.pool.samples.classes
        others = (classes != class_id) & ~np.isin(classes, list(without))
        return np.flatnonzero(classes == class_id), np.flatnonzero(others)

    def _random(self) -> np.random.Generator:
        self._count += 1
        return np.random.default_rng((self._seed, self._count))

    def _changed(self, function: Change, recipient: int, donor: int) -> Image | None:
        try:
            return function(recipient, donor)
        except SourceError:  # the file has gone since it was classified
            return None

    def _arm(
        self,
        class_id: int,
        treated: list[Image],
        control: list[Image],
        independent: int,
        *,
        adding: bool,
    ) -> "_Pairs":
        logits = self.pool.logits([*treated, *control])
        others = np.delete(logits, class_id, axis=1)
        margins = logits[:, class_id] - (others.max(axis=1) if others.size else 0.0)
        margins = margins if adding else -margins
        first, second = margins[: len(treated)].astype(np.float64), margins[len(treated) :].astype(np.float64)
        differences = first - second
        arm = Arm(
            images=len(treated),
            independent=independent,
            treated=float((first > 0).mean()),
            control=float((second > 0).mean()),
            t=t_value(differences, independent),
        )
        flips = (first > 0).astype(np.float64) - (second > 0)
        return _Pairs(arm, flips, adding)


@dataclass(frozen=True, slots=True)
class _Pairs:
    arm: Arm
    flips: F64
    adding: bool


def _cycle(random: np.random.Generator, numbers: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """Return ``count`` of the numbers in random order; each occurs again only after all others."""
    rounds = [random.permutation(numbers) for _ in range(-(-count // len(numbers)))]
    return np.concatenate(rounds)[:count]


def _measured(pairs: list[_Pairs], words: str, passes: int) -> Measured:
    by_direction = {one.adding: one for one in pairs}
    effects = [one.arm.effect for one in pairs]
    return Measured(
        proof=Proof(
            words,
            added=by_direction[True].arm if True in by_direction else None,
            removed=by_direction[False].arm if False in by_direction else None,
            passes=passes,
        ),
        effect=float(np.mean(effects)),
        least=min(effects),
        t=min(one.arm.t for one in pairs),
        p_value=max(p_of_t(one.arm.t, one.arm.independent) for one in pairs),
        interval=mean_interval(*((one.flips, one.arm.independent) for one in pairs)),
    )
