"""What the tests found of each network's head, as the table of ``docs/heads.md``."""

import math

LIBRARIES = ("torchvision", "timm", "transformers", "Keras", "onnx's light graphs")
ROWS: dict[tuple[str, str], tuple[str, str, str]] = {}


def note(library: str, network: str, report) -> None:
    """Remember what a report says of a network of a library."""
    verified = report.verification
    error = verified["identity_error"] if "identity_error" in verified else verified["cells_error"]
    power = math.ceil(math.log10(error)) if error else -9
    maps = " x ".join(map(str, report.features))
    ROWS[library, network] = (report.head, maps, f"1e{power:03d}")


def note_refusal(library: str, network: str, reason: str) -> None:
    """Remember that a network was refused, and why in a few words."""
    ROWS[library, network] = ("refused", reason, "")


def table() -> str:
    """Return the table in Markdown."""
    lines = ["| from | network | head | map | off by |", "|---|---|---|---|---|"]
    for library, network in sorted(ROWS, key=lambda key: (LIBRARIES.index(key[0]), key[1].lower())):
        head, maps, error = ROWS[library, network]
        lines.append(f"| {library} | {network} | {head if head == 'refused' else f'`{head}`'} | {maps} | {error} |")
    return "\n".join(lines)
