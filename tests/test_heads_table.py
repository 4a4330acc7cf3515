"""The table of networks in the documents is what the tests find; what they find new, they add to it."""

from camrt.benchmarks.report.tables import fill
from support import REPOSITORY
from support.heads_table import FOUND, rows_of, table

DOCUMENT = REPOSITORY / "docs" / "heads.md"


def test_the_table_in_the_documents_is_what_was_found():
    """The errors differ from machine to machine; heads and maps must not."""
    text = DOCUMENT.read_text(encoding="utf-8")
    shown = rows_of(text)
    both = FOUND.keys() & shown.keys()
    assert {key: FOUND[key][:2] for key in both} == {key: shown[key][:2] for key in both}
    if new := {key: row for key, row in FOUND.items() if key not in shown}:
        DOCUMENT.write_text(fill(text, {"heads": table(shown | new)}), encoding="utf-8")


def test_the_table_reads_back():
    rows = {("timm", "a_b"): ("linear", "8 x 7 x 7", "1e-06"), ("onnx's light graphs", "c"): ("refused", "why", "-")}
    assert rows_of(table(rows)) == rows
