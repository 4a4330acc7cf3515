"""The names of the classes."""

from collections.abc import Sequence
from pathlib import Path

from camrt.errors import UsageError


def read_labels(labels: Sequence[str] | str | Path | None) -> tuple[str, ...] | None:
    """Return class names as given, or from a UTF-8 text file with one a line.

    Raises:
        UsageError: the file cannot be read, or a line between the others is empty.
    """
    if labels is None:
        return None
    if not isinstance(labels, (str, Path)):
        return tuple(str(label) for label in labels)
    try:
        text = Path(labels).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"labels {labels} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"labels {labels} is not UTF-8 text: byte {error.start} is {error.reason}") from error
    lines = [line.strip() for line in text.rstrip().splitlines()]
    if "" in lines:
        raise UsageError(f"labels {labels}: line {lines.index('') + 1} is empty; give one name a line")
    return tuple(lines)


def check_labels(labels: tuple[str, ...] | None, classes: int) -> None:
    """Raise UsageError unless there is one label a class."""
    if labels is None or len(labels) == classes:
        return
    hint = ""
    if len(labels) == classes - 1:
        hint = "; a network with one class more than labels often has 'background' as its first: put that name on top"
    raise UsageError(f"there are {len(labels)} labels, but the network has {classes} classes{hint}")
