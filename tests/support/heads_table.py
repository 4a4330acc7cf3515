"""The table of `docs/heads.md`: which head camrt finds in each network of other libraries."""

import math
import re

from support import REPOSITORY

LIBRARIES = ("torchvision", "timm", "transformers", "Keras", "onnx's light graphs")
DOCUMENT = REPOSITORY / "docs" / "heads.md"
Rows = dict[tuple[str, str], tuple[str, str, str]]
"""(library, network): (head, maps, error)."""
_ROW = re.compile(r"^\| ([^|]+) \| ([^|]+) \| `?([^|`]+)`? \| ([^|]+) \| ([^|]*) \|$", re.MULTILINE)


def assert_documented(library: str, network: str, report) -> None:
    """Fail unless the table gives a network the head and the map shape of an export's report."""
    verified = report.verification
    error = verified["identity_error"] if "identity_error" in verified else verified["cells_error"]
    power = math.ceil(math.log10(error)) if error else -9
    maps = " x ".join(map(str, report.features))
    _assert_row(library, network, (report.head, maps, f"1e{power:03d}"))


def assert_refusal_documented(library: str, network: str, reason: str) -> None:
    """Fail unless the table says that a network is refused, and for this reason."""
    _assert_row(library, network, ("refused", reason, "-"))


def _assert_row(library: str, network: str, row: tuple[str, str, str]) -> None:
    documented = rows_of(DOCUMENT.read_text(encoding="utf-8")).get((library, network), ())
    line = table({(library, network): row}).splitlines()[-1]
    # The last column is the error, which differs from machine to machine.
    assert documented[:2] == row[:2], f"docs/heads.md needs this row, sorted by library and name:\n{line}"


def rows_of(text: str) -> Rows:
    """Return the rows of the table in a document."""
    rows = {(library, network): (head, maps, error) for library, network, head, maps, error in _ROW.findall(text)}
    return {key: row for key, row in rows.items() if key[0] in LIBRARIES}


def table(rows: Rows) -> str:
    """Return rows in Markdown, sorted by library and name."""
    lines = ["| from | network | head | map | off by |", "|---|---|---|---|---|"]
    for library, network in sorted(rows, key=lambda key: (LIBRARIES.index(key[0]), key[1].lower())):
        head, maps, error = rows[library, network]
        lines.append(f"| {library} | {network} | {head if head == 'refused' else f'`{head}`'} | {maps} | {error} |")
    return "\n".join(lines)
