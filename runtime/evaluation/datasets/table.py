"""Images with classes and boxes in a CSV table."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from camrt.runtime.evaluation.datasets.files import box_of, read_text
from camrt.runtime.evaluation.datasets.labelled import AnnotationError, Box, Dataset, LabelledImage, Target

_TITLES: Final = {
    "file": ("file", "filename", "image", "path"),
    "class": ("class", "label", "class_name"),
    "x0": ("x0", "xmin"),
    "y0": ("y0", "ymin"),
    "x1": ("x1", "xmax"),
    "y1": ("y1", "ymax"),
    "mask": ("mask",),
}
_BOX: Final = ("x0", "y0", "x1", "y1")


def columns_of(titles: Sequence[str]) -> dict[str, int] | None:
    """Return the columns of a table by `_TITLES`; None: it has none for files or classes."""
    plain = [title.strip().lower() for title in titles]
    columns = {
        key: next(plain.index(name) for name in names if name in plain)
        for key, names in _TITLES.items()
        if any(name in plain for name in names)
    }
    return columns if {"file", "class"} <= set(columns) else None


def is_table(path: Path) -> bool:
    """Tell whether the first line of a CSV file has the titles of files and classes."""
    if not path.is_file():  # a pipe would wait for a writer
        return False
    try:
        with path.open("rb") as file:
            first = file.readline(4096).decode("utf-8-sig", "replace")
        return columns_of(next(csv.reader([first]), [])) is not None
    except (OSError, csv.Error):
        return False


def read_table(path: Path) -> Dataset:
    """Read a CSV file with the titles ``file,class,x0,y0,x1,y1``, one line for each box.

    x1 and y1 are exclusive. A line may have no box. A column ``mask`` names a PNG. Files are looked for beside the
    table. Several lines of a file and a class are one target. Further columns are kept as text.

    Raises:
        AnnotationError: the titles are missing, or a line is wrong.
    """
    lines = csv.reader(read_text(path).splitlines(), strict=True)
    boxes: dict[str, dict[str, list[Box]]] = {}
    masks: dict[tuple[str, str], list[Path]] = {}
    more: dict[str, dict[str, dict[str, None]]] = {}
    columns: dict[str, int] | None = None
    titles: list[str] = []
    try:
        for line in lines:
            place = f"{path}, line {lines.line_num}"
            if not any(cell.strip() for cell in line):
                continue
            if columns is None:
                columns = columns_of(line)
                if columns is None:
                    raise AnnotationError(
                        f"{place}: the titles must be file,class,x0,y0,x1,y1, not {','.join(line)!r:.60}"
                    )
                width, titles = len(line), [title.strip() for title in line]
                continue
            if len(line) != width:
                raise AnnotationError(f"{place}: it has {len(line)} values, the titles are {width}")
            cells = {key: line[column].strip() for key, column in columns.items()}
            if not (cells["file"] and cells["class"]):
                raise AnnotationError(f"{place}: it has no {'class' if cells['file'] else 'file'}")
            further = more.setdefault(cells["file"], {})
            for number, title in enumerate(titles):
                if title and number not in columns.values():
                    further.setdefault(title, {})[line[number].strip()] = None
            some = boxes.setdefault(cells["file"], {}).setdefault(cells["class"], [])
            sides = [cells.get(key, "") for key in _BOX]
            if any(sides):
                some.append(box_of(sides, place))
            if cells.get("mask"):
                masks.setdefault((cells["file"], cells["class"]), []).append(path.parent / cells["mask"])
    except csv.Error as error:
        raise AnnotationError(f"{path}, line {lines.line_num}: it is not CSV: {error}") from error
    if not boxes:
        raise AnnotationError(f"{path} has no line below its titles")
    images = [
        LabelledImage(
            name,
            path.parent / name,
            tuple(Target(label, tuple(some), tuple(masks.get((name, label), ()))) for label, some in classes.items()),
            columns={title: ", ".join(values) for title, values in more[name].items()},
        )
        for name, classes in boxes.items()
    ]
    return Dataset(str(path), "csv", images)
