"""Examples of a finding: images whose answer flips when they lose the evidence, or get it."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import numpy as np

from camrt.errors import SourceError
from camrt.images import Image
from camrt.runtime.audit.exchange import ImagePool
from camrt.runtime.audit.finding import Example, View
from camrt.runtime.audit.presence import without_evidence
from camrt.runtime.audit.shifts import Suspect

_SHOWN: Final = 3
"""Examples of each direction."""
_TRIED: Final = 40


def examples(pool: ImagePool, class_id: int, suspect: Suspect, numbers: Sequence[int]) -> list[Example]:
    """Return images before and after the change: those that lose the evidence first, then those that get it.

    Args:
        pool: the images.
        class_id: the class of the finding.
        suspect: the evidence and its changes.
        numbers: images of the class, most affected first.
    """
    lost: list[Example] = []
    for number in numbers[:_SHOWN]:
        with suppress(SourceError):  # the file has gone since it was classified
            after = without_evidence(pool, suspect, number)
            lost.append(_example(pool, class_id, number, after, added=False))
    return [*lost, *_gains(pool, class_id, suspect, numbers)]


def _gains(pool: ImagePool, class_id: int, suspect: Suspect, donors: Sequence[int]) -> list[Example]:
    """Return images of other classes that become the class, if any do: at most `_SHOWN` of `_TRIED` random ones."""
    if not donors:
        return []
    others = np.flatnonzero(pool.samples.classes != class_id)
    recipients = np.random.default_rng(0).permutation(others)[:_TRIED].tolist()
    found: list[Example] = []
    for position, recipient in enumerate(recipients):
        donor = donors[position % len(donors)]
        with suppress(SourceError):
            after = _with_evidence(pool, suspect, recipient, donor)
            if after is None:
                continue
            name = "" if suspect.exchange is None else pool.samples.sources[donor].name
            one = _example(pool, class_id, recipient, after, added=True, donor=name)
            label = pool.model.labels[class_id]
            if one.after.answer == label != one.before.answer:
                found.append(one)
        if len(found) == _SHOWN:
            break
    return found


def _with_evidence(pool: ImagePool, suspect: Suspect, recipient: int, donor: int) -> Image | None:
    if suspect.exchange is not None:
        return suspect.exchange.add(recipient, donor)
    assert suspect.shift is not None
    change: Callable[[Image], Image] = suspect.shift.towards
    if suspect.shift.whole_file:
        return pool.fitted(change(pool.full(recipient)))
    return change(pool[recipient][0])


def _example(pool: ImagePool, class_id: int, number: int, after: Image, *, added: bool, donor: str = "") -> Example:
    before = pool[number][0]
    results = pool.results([before, after])
    views = [
        View(image, one.visible_cam(class_id), one.label(one.class_id), float(one.scores[class_id]))
        for image, one in zip((before, after), results, strict=True)
    ]
    return Example(added, pool.samples.sources[number].name, donor, *views)
