"""Find a class by its name."""

from collections.abc import Sequence
from pathlib import Path

from camrt.errors import UsageError


def find_class(name: str, labels: Sequence[str], path: Path) -> int:
    """Return the number of a class given by its label (any case), a part of it, or its number.

    Args:
        name: what the user wrote.
        labels: names of all classes.
        path: the model file, for messages.

    Raises:
        UsageError: no class or several classes match.
    """
    wanted = name.strip().casefold()
    if not wanted:
        raise UsageError("an empty class name; give a label, a part of one, or a number")
    exact = [number for number, label in enumerate(labels) if label.casefold() == wanted]
    if not exact and wanted.isdecimal() and int(wanted) < len(labels):
        return int(wanted)
    matches = exact or [number for number, label in enumerate(labels) if wanted in label.casefold()]
    if len(matches) == 1:
        return matches[0]
    if not matches:
        raise UsageError(f"{path.name} has no class {name!r}; camrt inspect {path} --labels lists them")
    some = ", ".join(f"{number} ({labels[number]})" for number in matches[:5])
    raise UsageError(f"{len(matches)} classes match {name!r}: {some}; use a number")
