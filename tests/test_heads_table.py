"""The table of networks in `docs/heads.md` is well formed; the tests of the export check each row."""

from support.heads_table import DOCUMENT, rows_of, table


def test_table_is_sorted_by_library_and_name():
    text = DOCUMENT.read_text(encoding="utf-8")
    rows = rows_of(text)
    assert rows
    assert table(rows) in text


def test_table_reads_back():
    rows = {("timm", "a_b"): ("linear", "8 x 7 x 7", "1e-06"), ("onnx's light graphs", "c"): ("refused", "why", "-")}
    assert rows_of(table(rows)) == rows
