"""Match the classes of data with those of a model, by their names and never by their numbers alone."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from camrt.errors import UsageError
from camrt.runtime.evaluation.datasets.labelled import Dataset, Target

_ID: Final = re.compile(r"n\d{8}")
_SHOWN: Final = 8
_PROOFS: Final = 0.9
"""Share of the named classes whose label must be at their number, for numbers to count."""


@dataclass(frozen=True, slots=True)
class Matching:
    """Classes of data, and the classes of a model that they stand for."""

    by_name: Mapping[str, tuple[int, ...]]
    """For each class of the data the numbers of the model's classes; empty: it has none."""
    offset: int | None
    """Number that the model's class numbers exceed the data's by; None: the numbers of the data mean nothing here."""
    classes: int
    reasons: Mapping[str, str]
    """Why a class of the data has no class of the model."""

    def class_ids(self, target: Target) -> tuple[int, ...]:
        """Return the numbers of the classes that are right for a target; empty: the model does not know it."""
        numbers = [number + self.offset for number in target.numbers] if self.offset is not None else []
        inside = tuple(number for number in numbers if 0 <= number < self.classes)
        # The numbers, which are unique, come before a name that two classes have.
        return inside if numbers and len(inside) == len(numbers) else self.by_name.get(target.label, ())


def normal_form(name: str) -> str:
    """Return a name in small letters, with single spaces in place of underscores, hyphens and spaces."""
    return re.sub(r"[\s_\-]+", " ", unicodedata.normalize("NFKC", name)).strip().casefold()


def match_classes(dataset: Dataset, labels: Sequence[str]) -> Matching:
    """Match the classes of a dataset with the labels of a model.

    A name fits a label if both are equal apart from case, spaces, underscores and hyphens. Else one of the label's
    words between commas may be equal, without what is in brackets, if no other label has it: ImageNet's labels list
    synonyms. WordNet ids fit a label that has them, or the words that the dataset's table gives them.

    Numbers that the data state count only if the names of single-number classes prove their order: at least nine in
    ten fit the label at their number, all shifted alike (by one, where a model has a class "background").
    """
    index = _Index(labels)
    by_name: dict[str, tuple[int, ...]] = {}
    reasons: dict[str, str] = {}
    for label in dataset.labels:
        wanted = dataset.synonyms.get(label) or dataset.synonyms.get(_id_of(label)) or (label,)
        ids: list[int] = []
        for name in wanted:
            found = index.find(name)
            if len(found) == 1:
                ids += found
            elif found:
                shown = ", ".join(f"{number} ({labels[number]})" for number in found[:3])
                reasons[label] = f"{len(found)} classes have this name: {shown}"
        by_name[label] = tuple(dict.fromkeys(ids))
        if not ids:
            reasons.setdefault(label, "the model has no such label")
    offset = _offset(dataset, index)
    return Matching(
        by_name, offset, len(labels), {name: reason for name, reason in reasons.items() if not by_name[name]}
    )


def _id_of(name: str) -> str:
    match = _ID.match(name.strip())
    return match[0] if match else ""


class _Index:
    """Labels of a model by their names, whole and in parts."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._whole: dict[str, list[int]] = {}
        self._ids: dict[str, list[int]] = {}
        self._parts: dict[str, list[int]] = {}
        for number, label in enumerate(labels):
            _add(self._whole, normal_form(label), number)
            if identifier := _id_of(label):
                _add(self._ids, identifier, number)
            for part in _parts(label):
                _add(self._parts, part, number)

    def find(self, name: str) -> list[int]:
        """Return the numbers of the labels that a name fits best."""
        if found := self._whole.get(normal_form(name)):
            return found
        if found := self._ids.get(_id_of(name), []):
            return found
        numbers = {number for part in _parts(name) for number in self._parts.get(part, ())}
        shared = {number: sum(number in self._parts.get(part, ()) for part in _parts(name)) for number in numbers}
        return sorted(number for number in numbers if shared[number] == max(shared.values()))

    def fits(self, name: str, number: int) -> bool:
        """Tell whether a name fits a label, perhaps among others."""
        return any(number in self._parts.get(part, ()) for part in _parts(name))


def _add(index: dict[str, list[int]], name: str, number: int) -> None:
    if name and number not in index.setdefault(name, []):
        index[name].append(number)


def _parts(label: str) -> list[str]:
    """Return the names of a label: between commas, without a WordNet id before them and without brackets."""
    text = _ID.sub("", label.strip(), count=1) if _ID.match(label.strip()) else label
    names = (normal_form(re.sub(r"\([^()]*\)", " ", part)) for part in text.split(","))
    return [name for name in names if name]


def _offset(dataset: Dataset, index: _Index) -> int | None:
    """Return the shift of the numbers that the data state, if names prove it."""
    named = {
        (target.label, target.numbers[0])
        for image in dataset.images
        for target in image.targets
        if len(target.numbers) == 1
    }
    for offset in (0, 1, -1):
        hits = sum(index.fits(name, number + offset) for name, number in named)
        if named and hits >= _PROOFS * len(named):
            return offset
    return None


def check_matching(matching: Matching, dataset: Dataset, model: str, *, allow_unmatched: bool) -> list[str]:
    """Return one line about each class of the data that the model does not know.

    Raises:
        UsageError: there are such classes and ``allow_unmatched`` is False; or the model knows none at all.
    """
    missing: dict[str, int] = {}
    known = 0
    for image in dataset.images:
        for target in image.targets:
            if matching.class_ids(target):
                known += 1
            else:
                missing[target.label] = missing.get(target.label, 0) + 1
    other = "its numbers are not those of the model"
    lines = [
        f"no class for {name!r} ({count} images): {matching.reasons.get(name, other)}"
        for name, count in missing.items()
    ]
    if not known:
        raise UsageError(f"{model} knows no class of {dataset.name}: {_some(missing)}; is it the model for these data?")
    if missing and not allow_unmatched:
        raise UsageError(
            f"{model} does not know {len(missing)} classes of {dataset.name}: {_some(missing)}; rename them, give a "
            "table with --classes, or leave them out with --allow-unmatched",
            *lines,
        )
    return [f"left out: {line}" for line in lines]


def _some(names: Iterable[str]) -> str:
    every = list(names)
    more = f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else ""
    return ", ".join(every[:_SHOWN]) + more
