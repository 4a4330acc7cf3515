"""Compare the chosen preprocessing with its likely alternatives on labelled images, so that a wrong guess is seen."""

import math
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import helper

from camrt.errors import UsageError
from camrt.export.graph.graph import Graph
from camrt.export.graph.network_input import NetworkInput
from camrt.export.graph.preprocessing import BYTE, IMAGENET_MEAN, IMAGENET_STD, Channels, Preprocessing
from camrt.export.graph.session import open_session, run_session
from camrt.export.source_metadata.collect import describe
from camrt.export.source_metadata.statement import FROM_0_TO_1, FROM_MINUS_1_TO_1, PIXELS, Numbers
from camrt.geometry import fit
from camrt.images import list_images, read_image
from camrt.model_file import InputGeometry, Resize
from camrt.progress import Progress

CHECK_IMAGES: Final = 200
"""More images take minutes and narrow the intervals little."""
Z_95: Final = 1.959964
"""Quantile of the normal distribution for a two-sided interval of 95 %."""
_PROGRESS_AFTER_S: Final = 2.0
_IMAGENET: Final = Numbers(BYTE, IMAGENET_MEAN, IMAGENET_STD)
_IMAGENET_MEAN_ONLY: Final = Numbers(1.0, tuple(255 * mean for mean in IMAGENET_MEAN))


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A preprocessing and its accuracy."""

    name: str
    flags: str
    """Flags of ``camrt attach`` that choose it."""
    is_chosen: bool
    correct: int
    accuracy: float
    """In [0, 1]."""
    interval: tuple[float, float]
    """Of the accuracy, 95 %."""
    answers: int
    """Number of different classes that came first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreprocessingCheck:
    """The result of a check."""

    images: int
    images_in_folder: int
    classes: int
    """Classes that have a folder."""
    variants: tuple[Variant, ...]
    """The chosen one first, the others by accuracy."""
    better: str | None
    """Flags of the best variant, if its interval is above that of the chosen one."""


@dataclass(frozen=True, slots=True)
class LabelledImages:
    """Images whose classes are known."""

    images: Sequence[NDArray[np.uint8]]
    """Each uint8 (H, W, 3), BGR."""
    truth: NDArray[np.int64]
    """(N,), the number of each image's class."""
    in_folder: int
    """Images in the folder; at most `CHECK_IMAGES` are read."""

    def fit(self, geometry: InputGeometry) -> NDArray[np.uint8]:
        """Return the images at the network's size: uint8 (N, H, W, 3)."""
        fitted = np.empty((len(self.images), geometry.height, geometry.width, 3), np.uint8)
        for image, out in zip(self.images, fitted, strict=True):
            fit(image, geometry, out)
        return fitted


@dataclass(frozen=True, slots=True)
class _Candidate:
    preprocessing: Preprocessing
    geometry: InputGeometry

    @property
    def numbers(self) -> Numbers:
        pixels = self.preprocessing
        return Numbers(pixels.scale, tuple(pixels.mean), tuple(pixels.std))

    def equals(self, other: "_Candidate") -> bool:
        return (
            self.geometry == other.geometry
            and self.preprocessing.channels == other.preprocessing.channels
            and self.numbers.agrees_with(other.numbers)
        )


def check_preprocessing(
    graph: Graph,
    network_input: NetworkInput,
    output: str,
    chosen: Preprocessing,
    geometry: InputGeometry,
    labelled: LabelledImages,
) -> PreprocessingCheck:
    """Measure the accuracy of a classifier with the chosen preprocessing and with others.

    First every range of pixels and order of channels is tried with the chosen geometry. Then the other geometries are
    tried with the chosen pixels, and with the best ones.

    Args:
        graph: the classifier, with any batch.
        network_input: its input.
        output: the output that gives the scores.
        chosen: the preprocessing of the model file.
        geometry: the model file's.
        labelled: from `read_labelled_images`.

    Raises:
        ExportError: the classifier cannot run.
    """
    truth = labelled.truth
    network = graph.copy()
    network.prune([helper.make_empty_tensor_value_info(output)])
    session = open_session(network.model, "the classifier")
    dtype = helper.tensor_dtype_to_np_dtype(network_input.elem_type)
    fitted: dict[InputGeometry, NDArray[np.uint8]] = {}

    def measure(candidate: _Candidate) -> Variant:
        if candidate.geometry not in fitted:
            fitted[candidate.geometry] = labelled.fit(candidate.geometry)
        answers = []
        for image in fitted[candidate.geometry]:
            batch = candidate.preprocessing.apply(image[None]).astype(dtype)
            answers.append(int(run_session(session, None, batch, "the classifier")[0].reshape(-1).argmax()))
            progress.step()
        correct = int((np.array(answers) == truth).sum())
        return Variant(
            name=_name(candidate),
            flags=_flags(candidate),
            is_chosen=candidate is first,
            correct=correct,
            accuracy=correct / len(truth),
            interval=wilson_interval(correct, len(truth)),
            answers=len(set(answers)),
        )

    first = _Candidate(chosen, geometry)
    resizes: tuple[Resize, ...] = ("stretch", "crop")
    geometries = [replace(geometry, resize=resize, shorter_side=None) for resize in resizes]
    pixel_candidates = [_Candidate(pixels, geometry) for pixels in _pixel_candidates(chosen, network_input)]
    pairs: list[tuple[_Candidate, Variant]] = []
    later = 2 * sum(other != geometry for other in geometries)

    def try_all(candidates: Sequence[_Candidate], later: int = 0) -> None:
        new = _without_repeats(candidates, [other for other, _ in pairs])
        progress.total = (len(pairs) + len(new) + later) * len(truth)
        pairs.extend((candidate, measure(candidate)) for candidate in new)

    with closing(Progress(None, "images classified", after_s=_PROGRESS_AFTER_S)) as progress:
        try_all([first, *pixel_candidates], later)
        best, best_variant = max(pairs, key=lambda pair: pair[1].correct)
        try_all([_Candidate(entry.preprocessing, other) for entry in (first, best) for other in geometries])
    top = max((variant for _, variant in pairs), key=lambda variant: variant.correct)
    if top.interval[0] <= best_variant.interval[1]:
        top = best_variant  # another geometry is no clear gain
    chosen_variant, *others = (variant for _, variant in pairs)
    variants = (chosen_variant, *sorted(others, key=lambda variant: -variant.correct))
    return PreprocessingCheck(
        images=len(truth),
        images_in_folder=labelled.in_folder,
        classes=len(set(truth.tolist())),
        variants=variants,
        better=top.flags if top.interval[0] > chosen_variant.interval[1] else None,
    )


def read_labelled_images(folder: Path, labels: Sequence[str] | None, classes: int) -> LabelledImages:
    """Read the images of a folder with one sub-folder a class, from all classes alike.

    A sub-folder's name is a label, one of its synonyms ("tench" of "tench, Tinca tinca"), or a number of a class.
    Case, ``_`` and ``-`` do not matter.

    Raises:
        UsageError: there are no such sub-folders, or one is no class; the message lists them.
        SourceError: the folder cannot be listed, or an image cannot be read.
    """
    files = _find_labelled_images(folder, labels, classes)
    chosen = _spread(files, CHECK_IMAGES)
    truth = np.array([class_id for _, class_id in chosen], np.int64)
    return LabelledImages(_read_all([path for path, _ in chosen]), truth, len(files))


def _find_labelled_images(folder: Path, labels: Sequence[str] | None, classes: int) -> list[tuple[Path, int]]:
    if not folder.is_dir():
        raise UsageError(f"--check {folder} is no folder; pass one with a sub-folder of images for each class")
    folders = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    found = {entry: images for entry in folders if (images := list_images(entry))}
    if not found:
        raise UsageError(f"--check {folder} has no sub-folders with images; it needs one for each class")
    by_label = _by_label(labels or ())
    labelled, unknown = [], []
    for entry, images in found.items():
        numbers = by_label.get(_plain(entry.name), set())
        if not numbers and entry.name.isdecimal() and int(entry.name) < classes:
            numbers = {int(entry.name)}
        if len(numbers) != 1:
            unknown.append(entry.name + (f" (classes {', '.join(map(str, sorted(numbers)))})" if numbers else ""))
            continue
        labelled += [(image, next(iter(numbers))) for image in images]
    if unknown:
        names = f"labels ({'; '.join(labels[:3])}; ...)" if labels else "numbers, and has no labels (--labels)"
        raise UsageError(
            f"--check {folder}: {len(unknown)} of {len(found)} sub-folders are no class of the network: "
            f"{', '.join(unknown[:5])}{', ...' if len(unknown) > 5 else ''}. Name them by its {names}"
        )
    return labelled


def wilson_interval(correct: int, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson 1927, the score interval)."""
    share, square = correct / count, Z_95**2 / count
    centre = (share + square / 2) / (1 + square)
    half = Z_95 / (1 + square) * math.sqrt(share * (1 - share) / count + square / (4 * count))
    return max(0.0, centre - half), min(1.0, centre + half)


def _by_label(labels: Sequence[str]) -> Mapping[str, set[int]]:
    """Return the classes of each label; a synonym counts where it is no whole label."""
    whole: dict[str, set[int]] = {}
    synonyms: dict[str, set[int]] = {}
    for number, label in enumerate(labels):
        whole.setdefault(_plain(label), set()).add(number)
        for synonym in label.split(","):
            synonyms.setdefault(_plain(synonym), set()).add(number)
    return synonyms | whole


def _plain(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())


def _spread(labelled: Sequence[tuple[Path, int]], count: int) -> list[tuple[Path, int]]:
    """Return at most ``count`` images, from every class alike."""
    ranks: dict[int, int] = {}
    order = []
    for index, (_, class_id) in enumerate(labelled):
        ranks[class_id] = ranks.get(class_id, -1) + 1
        order.append((ranks[class_id], index))
    return [labelled[index] for _, index in sorted(sorted(order)[:count], key=lambda pair: pair[1])]


def _without_repeats(candidates: Sequence[_Candidate], known: Sequence[_Candidate]) -> list[_Candidate]:
    """Return the candidates that equal none before them and no known one."""
    new: list[_Candidate] = []
    for candidate in candidates:
        if not any(candidate.equals(other) for other in (*known, *new)):
            new.append(candidate)
    return new


def _read_all(paths: Sequence[Path]) -> list[NDArray[np.uint8]]:
    images = []
    with closing(Progress(len(paths), "images read", after_s=_PROGRESS_AFTER_S)) as progress:
        for path in paths:
            images.append(read_image(path))
            progress.step()
    return images


def _pixel_candidates(chosen: Preprocessing, network_input: NetworkInput) -> list[Preprocessing]:
    """Return each likely range of pixels in each order of channels."""
    if network_input.takes_bytes:
        ranges = [PIXELS]
    elif chosen.channels == "grey":
        ranges = [FROM_0_TO_1, FROM_MINUS_1_TO_1, PIXELS]
    else:
        ranges = [_IMAGENET, FROM_0_TO_1, FROM_MINUS_1_TO_1, PIXELS, _IMAGENET_MEAN_ONLY]
    count = network_input.channels
    orders: tuple[Channels, ...] = ("grey",) if chosen.channels == "grey" else ("rgb", "bgr")
    candidates = []
    for order in orders:
        if order != chosen.channels:
            mean, std = ((values[::-1] if len(values) == count else values) for values in (chosen.mean, chosen.std))
            candidates.append(replace(chosen, channels=order, mean=tuple(mean), std=tuple(std)))
        for numbers in ranges:
            mean, std = (values * count if len(values) == 1 else values for values in (numbers.mean, numbers.std))
            step = -1 if order == "bgr" else 1
            candidates.append(replace(chosen, channels=order, scale=numbers.scale, mean=mean[::step], std=std[::step]))
    return candidates


def _name(candidate: _Candidate) -> str:
    geometry = candidate.geometry
    order = "grey" if candidate.preprocessing.channels == "grey" else candidate.preprocessing.channels.upper()
    resize = describe("resize", (geometry.resize, geometry.shorter_side))
    return f"{order}, {candidate.numbers.describe()}, {resize}"


def _flags(candidate: _Candidate) -> str:
    pixels, geometry = candidate.preprocessing, candidate.geometry
    words = [] if pixels.channels == "grey" else [f"--{pixels.channels}"]
    words += ["--scale", f"{pixels.scale:.6g}", "--mean", _list(pixels.mean), "--std", _list(pixels.std)]
    resize = geometry.resize + (f":{geometry.shorter_side}" if geometry.shorter_side else "")
    return " ".join([*words, "--resize", resize])


def _list(values: Sequence[Any]) -> str:
    return ",".join(f"{value:.6g}" for value in values)
