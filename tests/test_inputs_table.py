"""The table of inputs in `docs/inputs.md` is well formed; the marked tests check each row."""

from support import REPOSITORY
from support.inputs_table import DOCUMENT, rows_of, table


def test_table_is_sorted_and_has_no_row_twice():
    text = DOCUMENT.read_text(encoding="utf-8")
    assert table(rows_of(text)) in text


def test_each_row_is_a_kind_that_a_test_names():
    files = [path for path in (REPOSITORY / "tests").rglob("test_*.py") if path.name != "test_inputs_table.py"]
    tests = "\n".join(path.read_text(encoding="utf-8") for path in files)
    unknown = [row for row in rows_of(DOCUMENT.read_text(encoding="utf-8")) if row[1] not in tests]
    assert unknown == []


def test_table_reads_back():
    rows = [("model", "one logit", "torch", "equal"), ("image", "12-bit TIFF", "Pillow", "equal within 1 grey level")]
    assert rows_of(table(rows)) == rows
