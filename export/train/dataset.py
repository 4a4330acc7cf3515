"""Read a dataset for training: parts in folders, one folder of classes, or a CSV table."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from camrt.errors import MissingInput, UsageError
from camrt.export.train.samples import PARTS, Dataset, Sample
from camrt.export.train.split import clip_of, split_samples
from camrt.export.train.table import read_table
from camrt.media_files import list_folder, natural_order

_NO_CLASS: Final = frozenset(("__macosx", "__pycache__", "@eadir", "lost+found"))
"""Folders that programs leave behind."""
_IMBALANCE: Final = 3.0
"""Ratio of the largest to the smallest class from which on a remark says so."""
_NAMED: Final = 5


def read_dataset(path: str | Path, *, seed: int) -> Dataset:
    """Read the names and classes of a dataset's images; the pixels are read later.

    Forms: folders of parts (`PARTS`) with a folder for each class; one folder for each class, which is split; a CSV
    table with the titles ``file,class``, and ``split`` or a box where known. A folder that only wraps another one is
    entered. Hidden folders are skipped.

    Args:
        path: the folder or the table.
        seed: of the split, if there are no parts.

    Raises:
        MissingInput: there is nothing at ``path``.
        UsageError: there are no images, fewer than two classes, a class is missing in a part, or has too few images.
        SourceError: a folder cannot be listed, or the table is wrong.
    """
    path = Path(path)
    if not path.exists():
        raise MissingInput(f"there is nothing at {path}")
    if path.is_dir():
        parts, remarks = _read_folder(path)
    else:
        parts, remarks = read_table(path), []
    return _dataset(path, parts, remarks, seed)


def _read_folder(root: Path) -> tuple[dict[str, list[Sample]], list[str]]:
    """Return the samples of each part (``all``: there are no parts), and remarks."""
    remarks: list[str] = []
    top = _enter(root, remarks)
    by_part: dict[str, Path] = {}
    others = []
    for folder in _folders(top):
        part = next((part for part, names in PARTS.items() if folder.name.lower() in names), None)
        if part is None:
            others.append(folder.name)
        elif part in by_part:
            raise UsageError(f"{by_part[part]} and {folder} are both the part {part!r}; keep one of them")
        else:
            by_part[part] = folder
    if by_part and "train" not in by_part:
        names = " and ".join(folder.name for folder in by_part.values())
        raise UsageError(f"{top} has {names} and no folder train; add it, or name the folder that holds the classes")
    if not by_part:
        return {"all": _read_classes(top, top, remarks)}, remarks
    if others:
        remarks.append(f"left out: {_list(others)} in {top}, beside the parts of the dataset")
    return {part: _read_classes(found, top, remarks) for part, found in by_part.items()}, remarks


def _enter(folder: Path, remarks: list[str]) -> Path:
    """Enter folders that hold one other folder with folders in it, as archives are often unpacked."""
    while len(inner := _folders(folder)) == 1 and _folders(inner[0]):
        beside = [entry.name for entry in sorted(folder.iterdir()) if entry.is_file() and entry.name[0] != "."]
        if beside:
            remarks.append(f"left out: {_list(beside)} in {folder}, beside its only folder")
        folder = inner[0]
    return folder


def _folders(folder: Path) -> list[Path]:
    entries = (entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    return sorted((entry for entry in entries if entry.name.lower() not in _NO_CLASS), key=natural_order)


def _read_classes(part: Path, root: Path, remarks: list[str]) -> list[Sample]:
    """Return the images in the class folders of a part, at any depth."""
    found = list_folder(part, subfolders=True)
    samples, loose = [], 0
    for path in sorted([*found.images, *found.broken], key=natural_order):
        folders = path.relative_to(part).parts[:-1]
        if not folders:
            loose += 1
        elif folders[0].lower() not in _NO_CLASS:
            label = unicodedata.normalize("NFC", folders[0])
            group = "/".join([label, *folders[1:], clip_of(path.stem)])
            samples.append(Sample(path, path.relative_to(root).as_posix(), label, group))
    broken = set(found.broken.values())
    remarks += [problem for problem in found.problems if problem not in broken] + found.lines(videos=False)
    if loose:
        remarks.append(f"left out: {loose} images directly in {part}, which have no class")
    empty = [folder.name for folder in _folders(part) if unicodedata.normalize("NFC", folder.name) not in
             {sample.label for sample in samples}]  # fmt: skip
    if empty and samples:
        raise UsageError(
            f"{part} has no images in the class folder(s) {_list(empty)}; add images, or remove the empty folders"
        )
    return samples


def _dataset(path: Path, parts: Mapping[str, list[Sample]], remarks: list[str], seed: int) -> Dataset:
    if not any(parts.values()):
        raise UsageError(
            f"{path} has no images in folders named after their classes; it needs CLASS/image.jpg, or train/CLASS and "
            "val/CLASS"
        )
    labels = {sample.label for some in parts.values() for sample in some}
    classes = tuple(sorted(labels, key=lambda label: natural_order(Path(label))))
    if len(classes) < 2:
        raise UsageError(f"{path} has one class, {classes[0]!r}; a classifier needs at least two")
    train, val, test = (list(parts.get(part, ())) for part in ("train", "val", "test"))
    selects = True
    if "all" in parts:
        train, val, remark = split_samples(parts["all"], classes, seed)
        remarks.append(remark)
    else:
        _check_same_classes(path, classes, parts)
        if not val and test:
            val, test, selects = test, [], False
            remarks.append(
                "there is no validation part, so the test part shows the progress; no epoch is chosen by it: the last "
                "one is taken"
            )
        elif not val:
            train, val, remark = split_samples(train, classes, seed)
            remarks.append(remark)
    remarks += _imbalance(train, classes)
    return Dataset(str(path), classes, tuple(train), tuple(val), tuple(test), selects, tuple(remarks))


def _check_same_classes(path: Path, classes: Iterable[str], parts: Mapping[str, Sequence[Sample]]) -> None:
    """Raise UsageError unless each part has each class, by name."""
    for part, samples in parts.items():
        missing = sorted(set(classes) - {sample.label for sample in samples})
        if missing:
            other = next(name for name, some in parts.items() if any(sample.label == missing[0] for sample in some))
            raise UsageError(
                f"{path}: class {missing[0]!r} is in the part {other!r} and not in {part!r}"
                f"{f', and so are {len(missing) - 1} more' if len(missing) > 1 else ''}; classes are matched by their "
                "names. Add its images, or remove it from all parts"
            )


def _imbalance(train: Sequence[Sample], classes: Sequence[str]) -> list[str]:
    counts = Counter(sample.label for sample in train)
    most, least = max(classes, key=lambda label: counts[label]), min(classes, key=lambda label: counts[label])
    if counts[most] < _IMBALANCE * counts[least]:
        return []
    return [
        f"the classes are unequal: {most!r} has {counts[most]} training images, {least!r} has {counts[least]}; read "
        "the table of each class, top-1 alone hides the small ones"
    ]


def _list(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(map(repr, names[:_NAMED])) + (f" and {more} more" if more > 0 else "")
