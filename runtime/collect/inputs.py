"""Files that the inputs name: folders, labelled data, lists of paths, globs, images and videos.

An input is read twice: once for its names, to match classes and count, and once for the work. So only the names of one
folder, of one glob, or of labelled data are in memory at once.
"""

import glob
import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from camrt.errors import MissingInput, SourceError, UsageError
from camrt.file_kind import TEXT, UNKNOWN
from camrt.media_files import MEDIA_SUFFIXES, kind_of_input, media_kind, natural_key
from camrt.runtime.collect.walk import LeaveOut, files_in_order
from camrt.runtime.evaluation.datasets.files import find_synonyms, read_synonyms
from camrt.runtime.evaluation.datasets.folder import class_root, is_mask
from camrt.runtime.evaluation.datasets.labelled import Dataset, Target
from camrt.runtime.evaluation.datasets.read import has_annotations, read_dataset

_LABELS: Final = (".csv", ".json")
_LISTS: Final = (".txt", ".lst", ".list")
_LINE_BYTES: Final = 65536
"""Longest line of a list: more than any path."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file that an input names."""

    file: Path
    folders: tuple[str, ...] = ()
    """Names of its folders, from the input down: any of them may be its class."""
    targets: tuple[Target, ...] | None = None
    """Its classes, from labelled data; None: the folders tell."""
    problem: str = ""
    """Reason why the file cannot be used, if it is known already."""
    named: bool = False
    """The user named this file, so it is never left out."""
    frames: bool = True
    """Take the frames if it is a video."""


@dataclass(frozen=True, slots=True)
class Input:
    """One of the inputs of a collection."""

    name: str
    """For messages; empty: single files, whose folders need not be classes."""
    entries: Callable[[LeaveOut], Iterator[Entry]]
    """Yields the files in order, the same at every call."""
    synonyms: Mapping[str, tuple[str, ...]]
    """Labels of the model for names of folders, see `camrt.runtime.evaluation.datasets.files.find_synonyms`."""
    dataset: Dataset | None = None
    """The labelled data; None: the folders of the images are their classes."""


def open_inputs(inputs: Sequence[str | Path], classes: Path | None = None) -> list[Input]:
    """Return the inputs that paths and globs name.

    Args:
        inputs: folders, images, videos, lists of paths, tables of labels (``.csv``, ``.json``), globs.
        classes: a table from names of folders and classes to labels of the model, see
            `camrt.runtime.evaluation.datasets.files.read_synonyms`; None: a file of WordNet ids beside the images.

    Raises:
        UsageError: there are none, or one is none of these.
        MissingInput: one does not exist, or a glob matches nothing.
        SourceError: one cannot be read.
    """
    if not inputs:
        raise UsageError("there are no inputs; name folders, images, videos, lists of paths or globs")
    opened: list[Input] = []
    files: list[Path] = []  # a shell writes thousands of them for *.jpg: neighbours are one input
    for one in map(str, inputs):
        source = _open_input(one, classes)
        if isinstance(source, Path):
            files.append(source)
            continue
        opened += _files(files, classes)
        files = []
        opened.append(source)
    return opened + _files(files, classes)


def _files(paths: Sequence[Path], classes: Path | None) -> list[Input]:
    """Return images and videos that are named one by one as an input; none: there are none."""
    if not paths:
        return []
    parents = dict.fromkeys(path.parent for path in paths)
    synonyms = {name: words for parent in parents for name, words in _synonyms(parent, classes).items()}
    entries = [Entry(path, _named_folders(path, None), named=True) for path in paths]
    return [Input("", lambda _: iter(entries), synonyms)]


def _open_input(text: str, classes: Path | None) -> Input | Path:
    """Return an input, or the path of a single image or video."""
    path = Path(text)
    if path.is_dir():
        return _labelled(path, classes) if has_annotations(path) else _folder(path, classes)
    if path.is_file():
        if path.suffix.lower() in _LABELS:
            return _labelled(path, classes)
        if _is_list(path):
            return Input(text, partial(_lines, path), _synonyms(path.parent, classes))
        kind_of_input(path)  # raises
        return path
    if path.exists():
        raise UsageError(f"{text} is no regular file")
    if glob.has_magic(text):
        return _glob(text, classes)
    raise MissingInput(f"there is nothing at {text}")


def _folder(root: Path, classes: Path | None) -> Input:
    """Return the images below a folder; their folders are their classes and groups."""
    try:
        top = class_root(root)
    except OSError as error:
        raise SourceError(f"folder {root} cannot be listed: {error.strerror}") from error

    def entries(leave_out: LeaveOut) -> Iterator[Entry]:
        for file, folders in files_in_order(top, leave_out):
            if is_mask(file, (*folders, file.name)):
                leave_out(file.name, "a mask")
            else:
                yield Entry(file, folders, frames=False)

    return Input(str(root), entries, _synonyms(root, classes))


def _labelled(path: Path, classes: Path | None) -> Input:
    """Return images with classes from annotations. All are in memory: files of annotations are read as a whole."""
    dataset = read_dataset(path, classes=classes)

    def entries(_: LeaveOut) -> Iterator[Entry]:
        for image in dataset.images:
            assert isinstance(image.image, Path)
            # Of an image that was not found, the annotation has only the name.
            file = Path(image.name) if image.problem else image.image
            yield Entry(file, Path(image.name).parent.parts, image.targets, image.problem, named=True)

    return Input(str(path), entries, dataset.synonyms, dataset)


def _lines(path: Path, _: LeaveOut) -> Iterator[Entry]:
    """Yield the files in the lines of a list; a relative path begins at the list's folder, or else at the current."""
    try:
        with path.open("rb") as lines:
            for number in itertools.count(1):
                line = lines.readline(_LINE_BYTES).removeprefix(b"\xef\xbb\xbf" if number == 1 else b"")
                if not line:
                    return
                if not (name := os.fsdecode(line.rstrip(b"\r\n"))):
                    continue
                if "\0" in name:
                    problem = f"{path}, line {number}: it has a zero byte; write one path a line"
                    yield Entry(path, problem=problem, named=True)
                    continue
                beside = path.parent / name
                file = beside if os.path.lexists(beside) else Path(name)
                yield Entry(file, _named_folders(Path(name), path.parent), named=True)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error


def _glob(pattern: str, classes: Path | None) -> Input:
    """Return the files that a pattern matches."""
    parts = Path(pattern).parts
    root = Path(*parts[: next(number for number, part in enumerate(parts) if glob.has_magic(part))])
    if next(glob.iglob(pattern, recursive=True), None) is None:  # noqa: PTH207 - Path cannot glob "/a/*"
        raise MissingInput(f"{pattern} matches no files")

    def entries(_: LeaveOut) -> Iterator[Entry]:
        # All names are in memory: the system lists them in any order.
        for match in sorted(glob.iglob(pattern, recursive=True), key=natural_key):  # noqa: PTH207 - as above
            file = Path(match)
            if not file.is_dir():
                yield Entry(file, file.relative_to(root).parent.parts)

    return Input(pattern, entries, _synonyms(root, classes))


def _named_folders(path: Path, root: Path | None) -> tuple[str, ...]:
    """Return the folders of a path that may be classes: those that its text has, or of a whole path the last one."""
    if path.is_absolute():
        below = root is not None and path.is_relative_to(root)
        parts = path.relative_to(root).parent.parts if below and root is not None else path.parent.parts[-1:]
    else:
        parts = path.parent.parts
    return tuple(part for part in parts if part not in ("..", os.sep))


def _synonyms(root: Path, classes: Path | None) -> dict[str, tuple[str, ...]]:
    return find_synonyms(root) if classes is None else read_synonyms(classes)


def _is_list(path: Path) -> bool:
    """Tell whether a file is a list of paths: text, or by its suffix, as names may have bytes that are no UTF-8."""
    kind = media_kind(path)
    if kind is UNKNOWN:
        return path.suffix.lower() in _LISTS
    return kind.name == TEXT and path.suffix.lower() not in MEDIA_SUFFIXES
