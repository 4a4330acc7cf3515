"""Labels of a table: CSV, with commas, semicolons or tabs."""

import csv
import io
import re
from contextlib import suppress
from typing import Final

from camrt.export.labels.form import Labels, NotThisForm, in_order

_DELIMITERS: Final = {",": "commas", ";": "semicolons", "\t": "tabs"}
_NUMBER_TITLES: Final = ("id", "index", "idx", "number", "no", "#", "classid", "classindex", "classidx", "labelid",
                         "labelindex", "labelidx", "target", "code", "key")  # fmt: skip
_NAME_TITLES: Final = ("name", "label", "class", "classname", "labelname", "displayname", "title", "category",
                       "description", "text", "value", "tag")  # fmt: skip
_TITLE: Final = re.compile(r"[^a-z#]")
_SYNSET: Final = re.compile(r"n\d{8}")


def labels_of_table(text: str, *, is_csv: bool) -> Labels | None:
    """Return the labels of a table; None: the text is no table.

    Args:
        text: of the file.
        is_csv: the file's suffix says that it is a table. Plain labels may hold commas, so other texts are one only
            if their first line has titles, or every line is a name and its number.

    Raises:
        NotThisForm: the text is a table without a column of names, or one that is damaged.
    """
    rows, delimiter = _rows(text)
    if not rows:
        return None
    titles = [_TITLE.sub("", cell.lower()) for cell in rows[0]]
    number_column = next((index for index, title in enumerate(titles) if title in _NUMBER_TITLES), None)
    name_columns = [index for index, title in enumerate(titles) if title in _NAME_TITLES]
    has_titles = bool(name_columns) and (is_csv or (len(rows[0]) > 1 and number_column is not None))
    if not (has_titles or is_csv or _pairs_with_numbers(rows)):
        return None
    form = f"table with {_DELIMITERS[delimiter]}"
    body = rows[1:] if has_titles else rows
    for line, row in enumerate(body, 2 if has_titles else 1):
        if len(row) != len(rows[0]):
            raise NotThisForm(
                f"{form}: line {line} has {len(row)} cells, and the first one has {len(rows[0])}; put names with "
                "a delimiter in quotes"
            )
    if not body:
        raise NotThisForm(f"{form}: it has titles, but no classes")
    columns = list(zip(*body, strict=True))
    counted = [index for index, column in enumerate(columns) if all(cell.isdecimal() for cell in column)]
    if has_titles:
        # "label,name": there the labels are the numbers
        names = [index for index in name_columns if index not in counted] or name_columns
        names.sort(key=lambda index: _NAME_TITLES.index(titles[index]))
        name_column = names[0]
        if number_column is None or number_column not in counted:
            number_column = next((index for index in counted if index in name_columns and index != name_column), None)
    else:
        name_column, number_column = _columns_without_titles(columns, counted, form)
    labels = [cell.strip() for cell in columns[name_column]]
    if "" in labels:
        raise NotThisForm(f"{form}: line {labels.index('') + (2 if has_titles else 1)} has no name")
    if number_column is None:
        return Labels(tuple(labels), form)
    numbers = [int(cell) for cell in columns[number_column]]
    if len(set(numbers)) < len(numbers):
        repeated = next(number for number in numbers if numbers.count(number) > 1)
        raise NotThisForm(f"{form}: number {repeated} has several names")
    return in_order(dict(zip(numbers, labels, strict=True)), form)


def _pairs_with_numbers(rows: list[list[str]]) -> bool:
    """Tell whether rows are pairs of a name and its number, name first."""
    if {len(row) for row in rows} != {2} or not all(row[1].isdecimal() and not row[0].isdecimal() for row in rows):
        return False
    return sorted(int(row[1]) for row in rows) == list(range(len(rows)))


def _columns_without_titles(columns: list[tuple[str, ...]], counted: list[int], form: str) -> tuple[int, int | None]:
    """Return the columns of the names and of the numbers."""
    number = counted[0] if counted and len(columns) > 1 else None
    rest = [index for index in range(len(columns)) if index != number]
    names = [index for index in rest if not all(_SYNSET.fullmatch(cell) for cell in columns[index])] or rest
    if len(names) != 1:
        raise NotThisForm(
            f"{form}: {len(names)} of its columns could be the names; give them titles in the first line, such as "
            "id and name"
        )
    return names[0], number


def _rows(text: str) -> tuple[list[list[str]], str]:
    """Return the cells of each row, and the delimiter: the one that gives each row the same number of cells."""
    tables = {}
    for delimiter in _DELIMITERS:
        reader = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True)
        with suppress(csv.Error):  # a line of more than 128 KiB
            tables[delimiter] = [[cell.strip() for cell in row] for row in reader if any(cell.strip() for cell in row)]
    even = {key: rows for key, rows in tables.items() if rows and len(rows[0]) > 1 and len(set(map(len, rows))) == 1}
    candidates = even or tables or {",": []}
    best = max(candidates, key=lambda delimiter: len(candidates[delimiter][0]) if candidates[delimiter] else 0)
    return candidates[best], best
