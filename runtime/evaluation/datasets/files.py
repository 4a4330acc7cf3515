"""Files of a dataset: images by the name in an annotation, text of bounded size, class tables."""

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Final

from camrt.errors import SourceError, UsageError
from camrt.media_files import natural_order
from camrt.runtime.evaluation.datasets.labelled import AnnotationError, Box

MOST_BYTES: Final = {".xml": 16 << 20, ".json": 1 << 30, ".csv": 1 << 30, ".txt": 16 << 20}
"""Largest file of annotations, by suffix: more than any real one, and less than what a machine can hold."""
_SYNSET: Final = re.compile(r"(n\d{8})[\s,;:]+(\S.*)")
_SYNSET_FILES: Final = ("synset_words.txt", "LOC_synset_mapping.txt", "synsets.txt", "words.txt")


def read_text(path: Path) -> str:
    """Return the text of a file of annotations. Raises: AnnotationError: it is too large, or cannot be read."""
    return decode(path, read_bytes(path))


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a file of annotations. Raises: AnnotationError: it is too large, or cannot be read."""
    try:
        if not path.is_file():  # a pipe or a device would never end
            raise AnnotationError(f"{path} is no regular file")
        limit = MOST_BYTES.get(path.suffix.lower(), 16 << 20)
        if path.stat().st_size > limit:
            raise AnnotationError(f"{path} has more than {limit >> 20} MiB; divide it into parts")
        return path.read_bytes()
    except OSError as error:
        raise AnnotationError(f"{path} cannot be read: {error.strerror}") from error


def decode(path: Path, data: bytes) -> str:
    """Return text in UTF-8, or UTF-16 with a byte order mark. Raises: AnnotationError."""
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8"
    try:
        return data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise AnnotationError(f"{path}, line {line}: it is not {encoding.upper()} text; save it as UTF-8") from error


def read_json(path: Path) -> Any:
    """Return the value of a JSON file. Raises: AnnotationError: the file is no JSON, nested too deeply or too large."""
    text = read_text(path)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise AnnotationError(f"{path}, line {error.lineno}: it is not JSON: {error.msg}") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, thousands of brackets
        raise AnnotationError(f"{path}: it is not usable JSON: {error}") from error


def box_of(values: Iterable[Any], place: str) -> Box:
    """Return a box of four numbers.

    Args:
        values: x0, y0, x1, y1, as numbers or text.
        place: file and entry, for messages.

    Raises:
        AnnotationError: they are not four finite numbers, or the box has no area.
    """
    entries = list(values)
    try:
        numbers = [float(value) for value in entries if not isinstance(value, bool)]
    except (TypeError, ValueError, OverflowError):
        numbers = []
    if len(entries) != 4 or len(numbers) != 4 or not all(abs(number) < 1e9 for number in numbers):
        raise AnnotationError(f"{place}: a box needs four numbers, not {entries!r:.80}")
    x0, y0, x1, y1 = numbers
    if x1 <= x0 or y1 <= y0:
        raise AnnotationError(f"{place}: box {x0:g},{y0:g},{x1:g},{y1:g} has no area; x0 < x1 and y0 < y1 are needed")
    return x0, y0, x1, y1


class ImageIndex:
    """Find images below a folder by the names in annotations."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._names: dict[str, list[Path]] = {}
        self._stems: dict[str, list[Path]] = {}
        seen: set[tuple[int, int]] = set()
        for folder, folders, files in os.walk(root, followlinks=True):
            status = Path(folder).stat()
            if (status.st_dev, status.st_ino) in seen:  # a link to a folder above
                folders.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in files:
                path = Path(folder, name)
                if not name.startswith(".") and path.suffix.lower() not in MOST_BYTES:
                    self._names.setdefault(name, []).append(path)
                    self._stems.setdefault(path.stem, []).append(path)

    def find(self, name: str, place: str, *, near: Path | None = None) -> Path:
        """Return the file with a name that an annotation states, with folders or without, with a suffix or without.

        Args:
            name: as the annotation has it. Only files below the root are returned.
            place: file and entry, for messages.
            near: the annotation's file. Of several images the one whose path is most like it is returned.

        Raises:
            AnnotationError: there is no such image, or several.
        """
        parts = (PureWindowsPath(name) if "\\" in name else PurePosixPath(name)).parts
        base = parts[-1] if parts else ""
        found = self._names.get(base) or self._stems.get(base) or []
        for count in range(2, len(parts) + 1):  # the more folders agree, the better
            fitting = [path for path in found if path.parts[-count:-1] == parts[-count:-1]]
            found = fitting or found
        if len(found) > 1 and near is not None:
            shared = {path: len(set(path.parent.parts) & set(near.parent.parts)) for path in found}
            found = [path for path in found if shared[path] == max(shared.values())]
        if len(found) != 1:
            problem = "not below" if not found else f"{len(found)} times below"
            raise AnnotationError(f"{place}: image {name!r} is {problem} {self.root}")
        return found[0]


def sorted_files(root: Path, suffix: str) -> list[Path]:
    """Return the files below a folder with a suffix, in natural order, without hidden ones."""
    return sorted(
        (
            path
            for path in root.rglob("*")
            if path.suffix.lower() == suffix
            and path.is_file()
            and not any(part.startswith(".") for part in path.relative_to(root).parts)
        ),
        key=natural_order,
    )


def shown_name(path: Path, root: Path) -> str:
    """Return a path below a folder as text, or the whole path where it lies elsewhere."""
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def find_synonyms(root: Path) -> dict[str, tuple[str, ...]]:
    """Return the words of WordNet ids, if a file beside the images has them, as ImageNet's copies do."""
    for name in _SYNSET_FILES:
        path = root / name
        if path.is_file():
            try:
                return read_synonyms(path)
            except (UsageError, SourceError):
                continue  # a file with such a name and other content
    return {}


def read_synonyms(path: Path) -> dict[str, tuple[str, ...]]:
    """Read a table from classes of data to labels of a model; a class may have several lines, one for each label.

    Each line is ``class,label`` or a WordNet id and its words, ``n02123045 tabby, tabby cat``.

    Raises:
        UsageError: the file is missing, or a line is neither.
        AnnotationError: it cannot be read.
    """
    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    table: dict[str, list[str]] = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        match = _SYNSET.fullmatch(line.strip())
        name, comma, label = match.expand(r"\1,\2").partition(",") if match else line.partition(",")
        if not (name.strip() and comma and label.strip()):
            raise UsageError(f"{path}, line {number}: write class,label, not {line!r:.60}")
        table.setdefault(name.strip(), []).append(label.strip().strip('"'))
    return {name: tuple(labels) for name, labels in table.items()}
