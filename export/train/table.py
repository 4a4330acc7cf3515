"""Labelled images of a CSV table: file, class, and where known the part and a box."""

import csv
import math
from pathlib import Path
from typing import Final

from camrt.errors import SourceError, UsageError
from camrt.export.train.samples import PARTS, Box, Sample
from camrt.export.train.split import clip_of

_TITLES: Final = {
    "file": ("file", "filename", "image", "path"),
    "class": ("class", "label", "class_name"),
    "split": ("split", "part", "set"),
    "group": ("group", "clip"),
    "x0": ("x0", "xmin"),
    "y0": ("y0", "ymin"),
    "x1": ("x1", "xmax"),
    "y1": ("y1", "ymax"),
}
_BOX: Final = ("x0", "y0", "x1", "y1")


def read_table(path: Path) -> dict[str, list[Sample]]:
    """Read a CSV table with the titles ``file,class``; ``split``, ``group`` and ``x0,y0,x1,y1`` are optional.

    Files are beside the table. Several lines of one file are several boxes of one object's class.

    Returns: the samples of each part, ``all`` if no line names a part.

    Raises:
        UsageError: the file is no CSV, or lacks titles.
        SourceError: a line is wrong; the message has its number.
    """
    if path.suffix.lower() != ".csv":
        raise UsageError(f"{path} is neither a folder nor a .csv table with the titles file,class")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path} cannot be read: {error}") from error
    lines = csv.reader(text.splitlines(), strict=True)
    parts: dict[str, dict[str, Sample]] = {}
    columns: dict[str, int] | None = None
    words = {word: part for part, names in PARTS.items() for word in names}
    part_of: dict[str, str] = {}
    try:
        for line in lines:
            place = f"{path}, line {lines.line_num}"
            if not any(cell.strip() for cell in line):
                continue
            if columns is None:
                columns = _columns(line)
                if not {"file", "class"} <= set(columns):
                    raise UsageError(f"{place}: the titles must be file,class, not {','.join(line)!r:.60}")
                width = len(line)
                continue
            if len(line) != width:
                raise SourceError(f"{place}: it has {len(line)} values, the titles are {width}")
            cells = {key: line[column].strip() for key, column in columns.items()}
            name, label = cells["file"], cells["class"]
            if not (name and label):
                raise SourceError(f"{place}: it has no {'class' if name else 'file'}")
            word = cells.get("split", "").lower()
            if word and word not in words:
                raise SourceError(f"{place}: part {word!r} is unknown; known are train, val, test")
            if not word and any(part != "all" for part in parts):
                raise SourceError(f"{place}: it has no part, and lines before have one")
            part = words.get(word, "all")
            if part != "all" and "all" in parts:
                raise SourceError(f"{place}: it has a part, and lines before have none")
            if part_of.setdefault(name, part) != part:
                raise SourceError(f"{place}: {name} is in the part {part_of[name]!r} already")
            box = _box([cells.get(key, "") for key in _BOX], place)
            before = parts.setdefault(part, {}).get(name)
            if before is not None and before.label != label:
                raise SourceError(f"{place}: {name} has the class {before.label!r} already; one image has one class")
            file = path.parent / name
            group = cells.get("group") or f"{file.parent.as_posix()}/{clip_of(file.stem)}"
            boxes = (*(before.boxes if before is not None else ()), *box)
            parts[part][name] = Sample(file, name, label, f"{label}/{group}", boxes)
    except csv.Error as error:
        raise SourceError(f"{path}, line {lines.line_num}: it is not CSV: {error}") from error
    return {part: list(samples.values()) for part, samples in parts.items()}


def _columns(titles: list[str]) -> dict[str, int]:
    plain = [title.strip().lower() for title in titles]
    return {
        key: next(plain.index(name) for name in names if name in plain)
        for key, names in _TITLES.items()
        if any(name in plain for name in names)
    }


def _box(cells: list[str], place: str) -> tuple[Box, ...]:
    if not any(cells):
        return ()
    try:
        x0, y0, x1, y1 = map(float, cells)
    except ValueError:
        raise SourceError(f"{place}: a box needs four numbers, not {','.join(cells)!r:.60}") from None
    if not all(map(math.isfinite, (x0, y0, x1, y1))) or x1 <= x0 or y1 <= y0:
        raise SourceError(f"{place}: box {','.join(cells)} has no area; x0 < x1 and y0 < y1 are needed")
    return ((x0, y0, x1, y1),)
