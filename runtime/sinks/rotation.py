"""Files that would grow for ever are set aside under a number, and the oldest are removed."""

import re
from dataclasses import dataclass
from pathlib import Path

from camrt.errors import SinkError


@dataclass(frozen=True, slots=True)
class Rotation:
    """When a file is set aside, and how much of what was set aside is kept."""

    size: int
    """Bytes after which a file is continued in a new one."""
    keep: int
    """Bytes that the files that were set aside may have together; the oldest are removed."""


def numbered(path: Path) -> list[tuple[int, Path]]:
    """Return what was set aside of ``path``, with its numbers, oldest first: ``seen.000001.mp4`` of ``seen.mp4``."""
    name = re.compile(rf"{re.escape(path.stem)}\.(\d{{6,}}){re.escape(path.suffix)}")
    found = ((name.fullmatch(entry.name), entry) for entry in path.parent.iterdir())
    return sorted((int(match[1]), entry) for match, entry in found if match)


def set_aside(file: Path, path: Path, keep: int | None) -> None:
    """Give a finished file the next number of ``path``, and remove the oldest of those where they are too many.

    Numbers only grow, so that a clock that is set, or an earlier run, does not confuse their order.

    Args:
        file: what is set aside, in the folder of ``path``.
        path: whose number it gets.
        keep: bytes that all of them may have together, but for the newest, which stays; None: all stay.

    Raises:
        SinkError: the folder cannot be written.
    """
    try:
        older = numbered(path)
        number = older[-1][0] + 1 if older else 1
        newest = path.with_name(f"{path.stem}.{number:06d}{path.suffix}")
        file.rename(newest)
        if keep is None:
            return
        total = newest.stat().st_size
        for _, entry in reversed(older):
            total += entry.stat().st_size
            if total > keep:
                entry.unlink()
    except OSError as error:
        raise SinkError(f"{file} cannot be set aside: {error.strerror}") from error
