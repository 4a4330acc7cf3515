"""Take a finding out of a model: weights of its head that do not use it, and what that changes on held-out images."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from camrt.errors import UsageError
from camrt.images import Image
from camrt.runtime.audit.audit import PASSES, prove
from camrt.runtime.audit.causal import Experiments
from camrt.runtime.audit.exchange import ImagePool
from camrt.runtime.audit.finding import Finding
from camrt.runtime.audit.head_fit import F64, PENALTIES, Group, Head, without_evidence
from camrt.runtime.audit.samples import Samples
from camrt.runtime.audit.selection import Proved
from camrt.runtime.evaluation.datasets.labelled import Dataset, LabelledImage
from camrt.runtime.inference.model import Model

_PAIRS: Final = 240
_FEWEST: Final = 8
"""Images of the class in each half at least."""
_FOLDS: Final = 4
_OTHERS: Final = 2
"""Place of the accuracy of other classes in `_accuracy`."""
_CHECKED: Final = 16
"""Images that the new file is verified on."""
RECOVERED: Final = 0.5
"""Share of the lost accuracy that a repair should give back."""
LOST: Final = 0.01
"""Accuracy that it may cost elsewhere."""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Shares of right answers on held-out images, in [0, 1]."""

    own: float
    """Images of the class as they are: most have the shortcut."""
    own_without: float
    """Images of the class that the experiment took the evidence from."""
    others: float
    """Images of other classes as they are."""
    others_with: float
    """Images of other classes that the experiment gave the evidence to."""

    @property
    def mean(self) -> float:
        """Mean of the four."""
        return (self.own + self.own_without + self.others + self.others_with) / 4


@dataclass(frozen=True, slots=True, eq=False)
class Repair:
    """Weights of a head that do not use a finding, and what they change."""

    finding: Finding
    weights: NDArray[np.float32]
    """(K, C)."""
    bias: NDArray[np.float32]
    """(K,)."""
    held_out: Sequence[str]
    """Names of the images of the figures."""
    before: Accuracy
    after: Accuracy
    checked: Sequence[Image]
    """uint8 (H, W, 3) BGR at the network's size, to verify a file on."""

    @property
    def better(self) -> bool:
        """Tell whether the held-out images have more right answers, with and without the shortcut together."""
        return self.after.own_without > self.before.own_without and self.after.mean > self.before.mean

    @property
    def reached(self) -> bool:
        """Tell whether half of the lost accuracy comes back, and at most one point is lost on other classes."""
        lost = self.before.own - self.before.own_without
        gained = self.after.own_without - self.before.own_without
        return gained >= RECOVERED * lost and self.after.others >= self.before.others - LOST

    def as_dict(self) -> Mapping[str, Any]:
        """Return the figures for JSON."""
        return {
            "finding": self.finding.as_dict(),
            "images": len(self.held_out),
            "before": asdict(self.before),
            "after": asdict(self.after),
            "better": self.better,
            "reached": self.reached,
        }


def repair(
    model: Model,
    dataset: str | Path | Dataset | Iterable[LabelledImage],
    name: str,
    *,
    passes: int = PASSES,
    seed: int = 0,
) -> Repair:
    """Audit a model, and fit its head without one of the findings.

    Half of the images are for the fit, the other half for the figures.

    Args:
        model: the model, with a linear head.
        dataset: as for `camrt.audit`.
        name: number of the finding in the list of the audit, from 1, or ``KIND:CLASS``.
        passes: as for `camrt.audit`.
        seed: as for `camrt.audit`.

    Raises:
        UsageError: there is no such finding, the head is not linear, or the class has too few images.
        MissingExtra, SourceError: as for `camrt.audit`.
    """
    if model.head != "linear":
        raise UsageError(f"{model.path} has a {model.head} head; only a linear one can be repaired")
    _, proved, experiments = prove(model, dataset, passes=passes, seed=seed)
    return repair_finding(find(proved, name), experiments, seed)


def repair_finding(chosen: Proved, experiments: Experiments, seed: int) -> Repair:
    """Fit the linear head of an audited model without a finding, see `repair`. Raises: UsageError: too few images."""
    samples, decoder = experiments.pool.samples, experiments.pool.model.decoder
    assert decoder.cam_weights is not None
    class_id = chosen.finding.class_id
    head = Head(decoder.cam_weights.astype(np.float64), decoder.cam_bias.astype(np.float64))
    halves = _halves(samples, head, seed)
    if min(int((samples.classes[half] == class_id).sum()) for half in halves) < _FEWEST:
        raise UsageError(f"{chosen.finding.label!r} has fewer than {2 * _FEWEST} images: too few to repair it")
    fit, held_out = (_States(experiments, chosen, half) for half in halves)
    penalty = max(PENALTIES, key=lambda one: fit.validated(head, one, seed))
    new = fit.new_head(head, penalty)
    return Repair(
        finding=chosen.finding,
        weights=new.weights.astype(np.float32),
        bias=new.bias.astype(np.float32),
        held_out=[samples.sources[number].name for number in halves[1].tolist()],
        before=held_out.accuracy(head),
        after=held_out.accuracy(new),
        checked=[experiments.pool[number][0] for number in halves[1][:_CHECKED].tolist()],
    )


def find(proved: Sequence[Proved], name: str) -> Proved:
    """Return a finding by its number or ``KIND:CLASS``. Raises: UsageError: there is none."""
    names = [f"{one.finding.kind}:{one.finding.label}" for one in proved]
    if name in names:
        return proved[names.index(name)]
    if name.isdecimal() and 1 <= int(name) <= len(proved):
        return proved[int(name) - 1]
    shown = ", ".join(f"{number} ({one})" for number, one in enumerate(names, 1)) or "none"
    raise UsageError(f"--repair {name}: there is no such finding; the audit has {shown}")


def _halves(samples: Samples, head: Head, seed: int) -> list[NDArray[np.intp]]:
    """Return the numbers of two halves of each class's images: of each two with the nearest margins, one at random.

    Few images at random may be much harder than the other half.
    """
    assert samples.pooled is not None
    random = np.random.default_rng(seed)
    parts: list[list[int]] = [[], []]
    for class_id in np.unique(samples.classes[samples.looked]).tolist():
        numbers = np.flatnonzero((samples.classes == class_id) & samples.looked)
        logits = head.logits(samples.pooled[numbers].astype(np.float64))
        margins = logits[:, class_id] - np.delete(logits, class_id, axis=1).max(axis=1, initial=-np.inf)
        order = numbers[np.argsort(margins, kind="stable")].tolist()
        for begin in range(0, len(order), 2):
            for part, number in zip(parts, random.permutation(order[begin : begin + 2]).tolist(), strict=False):
                part.append(number)
    return [random.permutation(np.array(part, np.intp)) for part in parts]


class _States:
    """Pooled features of a half of the images, with and without the evidence."""

    def __init__(self, experiments: Experiments, chosen: Proved, numbers: NDArray[np.intp]) -> None:
        pool = experiments.pool
        self._class_id = chosen.finding.class_id
        inside = pool.samples.classes[numbers] == self._class_id
        tried = (experiments.arms(one, numbers[inside], numbers[~inside], _PAIRS) for one in chosen.suspects)
        if not (both := [one for one in tried if one is not None]):
            raise UsageError(f"{chosen.finding.label!r} has too few images to repair it")
        arms = [arm for one in both for arm in one]
        self._plainly = _state(pool, [pool[number][0] for number in numbers.tolist()], numbers)
        self._adding = [arm.adding for arm in arms]
        recipients = [np.array(arm.recipients, np.intp) for arm in arms]
        self._evident = [_state(pool, arm.evident, some) for arm, some in zip(arms, recipients, strict=True)]
        self._plain = [_state(pool, arm.plain, some) for arm, some in zip(arms, recipients, strict=True)]

    def new_head(self, head: Head, penalty: float, without: NDArray[np.intp] | None = None) -> Head:
        """Return the head that is fitted to these images; ``without``: numbers of images that are left out."""
        left_out = np.zeros(0, np.intp) if without is None else without
        evident, plain = (_join([one.outside(left_out) for one in some]) for some in (self._evident, self._plain))
        groups = [Group(one.features, one.classes) for one in (self._plainly.outside(left_out), evident, plain)]
        return without_evidence(head, evident.features, plain.features, groups, penalty)

    def validated(self, head: Head, penalty: float, seed: int) -> float:
        """Return a score of a penalty by cross-validation: the mean accuracy, less for what other classes lose."""
        folds = np.array_split(np.random.default_rng(seed).permutation(np.unique(self._plainly.numbers)), _FOLDS)
        parts = [(self._of(fold), self.new_head(head, penalty, fold)) for fold in folds]
        before, after = (
            np.nanmean([_accuracy(states, one, self._class_id) for states, one in some], axis=0)
            for some in ([(states, head) for states, _ in parts], parts)
        )
        lost = max(0.0, float(before[_OTHERS] - after[_OTHERS]) - LOST)
        return float(np.mean(after)) - lost

    def accuracy(self, head: Head) -> Accuracy:
        """Return the shares of right answers, as a mean of the classes."""
        return Accuracy(*_accuracy(self._of(self._plainly.numbers), head, self._class_id))

    def _of(self, numbers: NDArray[np.intp]) -> "list[_State]":
        """Return images as they are, others with the evidence, and images of the class without it."""
        given, taken = (
            _join([one for one, adding in zip(states, self._adding, strict=True) if adding is wanted])
            for states, wanted in ((self._evident, True), (self._plain, False))
        )
        return [one.inside(numbers) for one in (self._plainly, given, taken)]


@dataclass(frozen=True, slots=True)
class _State:
    features: F64
    classes: NDArray[np.intp]
    numbers: NDArray[np.intp]

    def inside(self, numbers: NDArray[np.intp]) -> "_State":
        return self.keep(np.isin(self.numbers, numbers))

    def outside(self, numbers: NDArray[np.intp]) -> "_State":
        return self.keep(~np.isin(self.numbers, numbers))

    def keep(self, kept: NDArray[np.bool_]) -> "_State":
        return _State(self.features[kept], self.classes[kept], self.numbers[kept])


def _state(pool: ImagePool, images: list[Image], numbers: NDArray[np.intp]) -> _State:
    features = [one.decoder.decoded(one.maps).mean(axis=(1, 2), dtype=np.float64) for one in pool.results(images)]
    return _State(np.stack(features), pool.samples.classes[numbers], numbers)


def _join(states: Sequence[_State]) -> _State:
    return _State(
        np.concatenate([one.features for one in states]),
        np.concatenate([one.classes for one in states]),
        np.concatenate([one.numbers for one in states]),
    )


def _accuracy(states: Sequence[_State], head: Head, class_id: int) -> list[float]:
    """Return the values of `Accuracy` in their order; NaN where there is no image."""
    plainly, given, taken = states
    own = plainly.classes == class_id
    groups = [plainly.keep(own), taken, plainly.keep(~own), given]
    shares = []
    for one in groups:
        right = head.answers(one.features) == one.classes
        means = [right[one.classes == number].mean() for number in np.unique(one.classes)]
        shares.append(float(np.mean(means)) if means else float("nan"))
    return shares
