"""What the tests found of each network's head, as the table of ``docs/heads.md``."""

import math
import re

LIBRARIES = ("torchvision", "timm", "transformers", "Keras", "onnx's light graphs")
Rows = dict[tuple[str, str], tuple[str, str, str]]
"""(library, network): (head, maps, error)."""
FOUND: Rows = {}
"""By the tests of this run."""
_ROW = re.compile(r"^\| ([^|]+) \| ([^|]+) \| `?([^|`]+)`? \| ([^|]+) \| ([^|]*) \|$", re.MULTILINE)


def note(library: str, network: str, report) -> None:
    """Remember what a report says of a network of a library."""
    verified = report.verification
    error = verified["identity_error"] if "identity_error" in verified else verified["cells_error"]
    power = math.ceil(math.log10(error)) if error else -9
    maps = " x ".join(map(str, report.features))
    FOUND[library, network] = (report.head, maps, f"1e{power:03d}")


def note_refusal(library: str, network: str, reason: str) -> None:
    """Remember that a network was refused, and why in a few words."""
    FOUND[library, network] = ("refused", reason, "-")


def rows_of(text: str) -> Rows:
    """Return the rows of the table in a document."""
    rows = {(library, network): (head, maps, error) for library, network, head, maps, error in _ROW.findall(text)}
    return {key: row for key, row in rows.items() if key[0] in LIBRARIES}


def table(rows: Rows) -> str:
    """Return rows in Markdown."""
    lines = ["| from | network | head | map | off by |", "|---|---|---|---|---|"]
    for library, network in sorted(rows, key=lambda key: (LIBRARIES.index(key[0]), key[1].lower())):
        head, maps, error = rows[library, network]
        lines.append(f"| {library} | {network} | {head if head == 'refused' else f'`{head}`'} | {maps} | {error} |")
    return "\n".join(lines)
