"""The table of `docs/inputs.md`: the kinds of inputs that the tests try, and what each was compared with.

A test of a kind of input has the marker ``input_kind(category, name, reference, result)``. Before the test runs, it
fails unless the table has this row, so the table holds what the tests show. To write the rows of all tests:

    python tests/support/inputs_table.py
"""

import re
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENT = REPOSITORY / "docs" / "inputs.md"
CATEGORIES = ("model", "preprocessing", "labels", "image", "video", "camera or stream", "folder")
Row = tuple[str, str, str, str]
"""(category, name, reference, result)."""
_ROW = re.compile(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)


def rows_of_test(item: pytest.Item) -> list[Row]:
    """Return the rows that a test stands for. Raises: ValueError for a malformed marker."""
    rows = []
    for marker in item.iter_markers("input_kind"):
        row = tuple(str(cell) for cell in marker.args)
        if len(row) != 4 or marker.kwargs or row[0] not in CATEGORIES or "|" in "".join(row):
            raise ValueError(f"{item.nodeid}: input_kind needs (category, name, reference, result), not {row}")
        rows.append(row)
    return rows


def assert_documented(item: pytest.Item) -> None:
    """Fail unless the table has the rows of a test."""
    rows = rows_of_test(item)
    if rows and (missing := set(rows) - set(rows_of(DOCUMENT.read_text(encoding="utf-8")))):
        pytest.fail(f"docs/inputs.md lacks {sorted(missing)}; python tests/support/inputs_table.py writes it")


def rows_of(text: str) -> list[Row]:
    """Return the rows of the table in a document."""
    return [row for row in _ROW.findall(text) if row[0] in CATEGORIES]


def table(rows: Iterable[Row]) -> str:
    """Return rows in Markdown, without repetitions, sorted by category and name."""
    ordered = sorted(set(rows), key=lambda row: (CATEGORIES.index(row[0]), row[1].lower(), row))
    lines = (f"| {' | '.join(row)} |" for row in ordered)
    return "\n".join(("| kind | what | compared with | result |", "|---|---|---|---|", *lines))


class _Collector:
    """A pytest plugin that keeps the rows of all collected tests."""

    def __init__(self) -> None:
        self.rows: set[Row] = set()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            self.rows.update(rows_of_test(item))


def main() -> int:
    """Write the rows of all tests into the document."""
    collector = _Collector()
    status = pytest.main(["--collect-only", "-qq", str(REPOSITORY / "tests")], plugins=[collector])
    if status == 0:
        text = DOCUMENT.read_text(encoding="utf-8")
        before, rest = text.split("<!-- from the tests -->\n")
        after = rest.split("<!-- end -->", maxsplit=1)[1]
        new = f"{before}<!-- from the tests -->\n{table(collector.rows)}\n<!-- end -->{after}"
        DOCUMENT.write_text(new, encoding="utf-8")
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
