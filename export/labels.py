"""Read and check the class labels."""

from collections.abc import Sequence
from pathlib import Path

from camrt.errors import UsageError


def read_labels(labels: Sequence[str] | str | Path | None) -> tuple[str, ...] | None:
    """Return class labels: a sequence as it is, or the lines of a UTF-8 text file.

    Raises:
        UsageError: the file cannot be read, or has an empty line before its end.
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
        raise UsageError(
            f"labels {labels} is not UTF-8 text: byte {error.start} is {error.reason}; save it as UTF-8"
        ) from error
    lines = [line.strip() for line in text.rstrip().splitlines()]
    if "" in lines:
        raise UsageError(f"labels {labels}: line {lines.index('') + 1} is empty; write one label on each line")
    return tuple(lines)


def check_labels(labels: tuple[str, ...] | None, classes: int) -> None:
    """Raise UsageError unless there is one label for each class."""
    if labels is None or len(labels) == classes:
        return
    advice = "pass the labels that the network was trained with"
    if len(labels) == classes - 1:
        advice = "if its first class is 'background', put that label first"
    raise UsageError(f"there are {len(labels)} labels, but the network has {classes} classes; {advice}")
