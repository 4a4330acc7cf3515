"""Facts beside the pixels that tell the class of an image: size, form, file name, camera, light, sharpness.

They are remarks on the data and no findings, because no experiment shows that the model uses them.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from functools import partial
from io import StringIO
from pathlib import Path, PurePath
from typing import Final

import numpy as np
from numpy.typing import NDArray

from camrt.errors import MissingExtra
from camrt.runtime.audit.grouping_keys import exif_tags
from camrt.runtime.audit.properties import COLOUR, PROPERTIES
from camrt.runtime.audit.samples import Samples
from camrt.runtime.audit.significance import permutation_floor

F64 = NDArray[np.float64]
_FEWEST: Final = 8
"""Images of a class, and of the others."""
_DIFFERENCE: Final = 0.5
"""Difference of two shares from which on a value tells the class."""
_APART: Final = 0.85
"""Share of pairs of a class's image and another one that a number orders in one way."""
_SHOWN: Final = 5
_READ: Final = 60
"""Images of a class whose files are read, for EXIF data and for CleanVision."""
_NUMBERS: Final = {"brightness": "brighter", "sharpness": "sharper", "width": "wider", "aspect": "of a wider form"}
_SMALLER: Final = {"brightness": "darker", "sharpness": "less sharp", "width": "narrower", "aspect": "of a taller form"}
_ISSUES: Final = {
    "dark": "dark",
    "light": "overexposed",
    "blurry": "blurred",
    "low_information": "nearly empty",
    "grayscale": "grey",
    "odd_aspect_ratio": "of an unusual form",
    "odd_size": "of an unusual size",
}
"""CleanVision's checks of single images, with their words."""


@dataclass(frozen=True, slots=True)
class _Fact:
    """A fact that tells a class from the others."""

    fact: str
    clearness: float
    """From 0 to 1."""
    line: str


def fact_remarks(samples: Samples, labels: Sequence[str]) -> list[str]:
    """Return lines about facts that tell a class of the data from all others, the clearest first."""
    facts = [*_of_texts(samples, labels), *_of_numbers(samples, labels), *_of_issues(samples, labels)]
    found = sorted(facts, key=lambda one: -one.clearness)
    if len(np.unique(samples.classes)) == 2:  # what one class has the other one lacks
        found = list({one.fact: one for one in reversed(found)}.values())[::-1]
    lines = [one.line for one in found[:_SHOWN]]
    if len(found) > _SHOWN:
        lines.append(f"{len(found) - _SHOWN} more facts beside the images tell a class from the others")
    return lines


def name_pattern(name: str) -> str:
    """Return the letters of a file's name before the first digit, in small letters, and its suffix."""
    path = PurePath(name)
    letters = next((path.stem[:index] for index, sign in enumerate(path.stem) if sign.isdigit()), "")
    return f"{letters.lower()}*{path.suffix.lower()}"


def _of_texts(samples: Samples, labels: Sequence[str]) -> Iterator[_Fact]:
    count = len(samples.classes)
    texts: dict[str, list[str]] = {
        "names like": [name_pattern(one.name) for one in samples.sources],
        "a size of": [f"{width}x{height}" for width, height in samples.sizes.tolist()],
        "the camera": _cameras(samples),
    }
    for words, values in texts.items():
        known = np.array([value != "" for value in values])
        codes = {value: number for number, value in enumerate(sorted(set(values)))}
        numbers = np.array([codes[value] for value in values], np.intp)
        if len(codes) < 2 or count < 2 * _FEWEST:
            continue
        for class_id in np.unique(samples.classes).tolist():
            own = samples.classes == class_id
            if min((own & known).sum(), (~own & known).sum()) < _FEWEST:
                continue
            shares, others = (np.bincount(numbers[one & known], minlength=len(codes)) for one in (own, ~own))
            difference = shares / shares.sum() - others / others.sum()
            best = int(difference.argmax())
            if difference[best] >= _DIFFERENCE:
                value = next(value for value, number in codes.items() if number == best)
                yield _Fact(
                    words,
                    float(difference[best]),
                    f"data: {shares[best] / shares.sum():.0%} of {labels[class_id]!r} and "
                    f"{others[best] / others.sum():.0%} of the other images have {words} {value!r}; a model can learn "
                    "that instead of the object",
                )


def _cameras(samples: Samples) -> list[str]:
    """Return the camera of each image by its EXIF data; empty: unknown, or not among those that were read."""
    names = [""] * len(samples.classes)
    with suppress(MissingExtra):  # without Pillow there are no EXIF data
        for number in _read(samples):
            tags: Mapping[str, str] = exif_tags(samples.sources[number])
            names[number] = tags.get("Model", "")
    if len(Counter(name for name in names if name)) < 2:
        return [""] * len(names)
    return names


def _read(samples: Samples) -> list[int]:
    """Return the numbers of the images whose files are read: up to `_READ` of each class."""
    classes = np.unique(samples.classes).tolist()
    return [number for class_id in classes for number in samples.of_class(class_id)[:_READ].tolist()]


def _of_numbers(samples: Samples, labels: Sequence[str]) -> Iterator[_Fact]:
    values = samples.properties.astype(np.float64)
    numbers: dict[str, F64] = {"brightness": values[:, COLOUR].mean(axis=1)}
    for name in ("sharpness", "width", "aspect"):
        numbers[name] = values[:, PROPERTIES.index(name)]
    for name, every in numbers.items():
        known = np.isfinite(every)
        classes, column = samples.classes[known], every[known]
        if len(classes) < 2 * _FEWEST or not np.ptp(column) > 0:
            continue
        ranks = _ranks(column)
        floor = permutation_floor(partial(_farthest, ranks), classes)
        for class_id, order in zip(*_orders(ranks, classes), strict=True):
            if abs(order - 0.5) > max(floor, _APART - 0.5):
                words = (_NUMBERS if order > 0.5 else _SMALLER)[name]
                yield _Fact(
                    name,
                    2 * abs(order - 0.5),
                    f"data: images of {labels[class_id]!r} are {words} than {max(order, 1 - order):.0%} of the others; "
                    "a model can learn that instead of the object",
                )


def _of_issues(samples: Samples, labels: Sequence[str]) -> Iterator[_Fact]:
    """Yield what CleanVision finds in many images of one class and few of the others, where it is installed."""
    try:
        from cleanvision import Imagelab
    except ImportError:
        return
    files, classes = [], []
    for number in _read(samples):
        image = samples.sources[number].image
        if isinstance(image, Path) and image.is_file():
            files.append(str(image.absolute()))
            classes.append(int(samples.classes[number]))
    if not files:
        return
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        lab = Imagelab(filepaths=files)
        lab.find_issues({issue: {} for issue in _ISSUES}, n_jobs=1, verbose=False)
    of_file = dict(zip(files, classes, strict=True))
    owners = np.array([of_file[name] for name in lab.issues.index])
    for issue, words in _ISSUES.items():
        flags = lab.issues[f"is_{issue}_issue"].to_numpy(bool)
        for class_id in np.unique(owners).tolist():
            own = owners == class_id
            if min(own.sum(), (~own).sum()) < _FEWEST:
                continue
            difference = float(flags[own].mean() - flags[~own].mean())
            if difference >= _DIFFERENCE:
                yield _Fact(
                    issue,
                    difference,
                    f"data: {flags[own].mean():.0%} of {labels[class_id]!r} and {flags[~own].mean():.0%} of the other "
                    f"images are {words} (CleanVision); a model can learn that instead of the object",
                )


def _farthest(ranks: F64, classes: NDArray[np.intp]) -> F64:
    return np.asarray(np.abs(_orders(ranks, classes)[1] - 0.5))


def _ranks(column: F64) -> F64:
    from scipy.stats import rankdata

    return np.asarray(rankdata(column))


def _orders(ranks: F64, classes: NDArray[np.intp]) -> tuple[NDArray[np.intp], F64]:
    """Return the classes with enough images, and for each the share of pairs in which its image has more.

    It is the statistic of Mann and Whitney (1947), divided by the number of pairs.
    """
    numbers, inverse, counts = np.unique(classes, return_inverse=True, return_counts=True)
    sums = np.bincount(inverse, ranks)
    others = len(classes) - counts
    keep = (counts >= _FEWEST) & (others >= _FEWEST)
    orders = (sums - counts * (counts + 1) / 2)[keep] / (counts * others)[keep]
    return numbers[keep], orders
