"""Files that would grow for ever are set aside under a number, and the oldest are removed."""

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from camrt.files import write_error


@dataclass(frozen=True, slots=True)
class Rotation:
    """When a file is set aside, and how much of what was set aside is kept."""

    size: int
    """Bytes after which a file is continued in a new one."""
    keep: int
    """Bytes that the files that were set aside may have together; the oldest are removed."""


class Series:
    """The finished files of one output, under numbers that only grow: ``seen.000001.mp4`` of ``seen.mp4``.

    So neither a clock that is set nor an earlier run confuses their order. The next number is behind the highest that
    is there and the highest of this run, whatever has been moved away since.
    """

    def __init__(self, path: Path, keep: int | None) -> None:
        """Begin, or go on with what an earlier run has left.

        Args:
            path: the output's own name.
            keep: bytes that all of them may have together, but for the newest, which stays; None: all stay.
        """
        self._path = path
        self._keep = keep
        self._last = 0

    def set_aside(self, file: Path) -> None:
        """Give a finished file of the same folder the next number, and remove the oldest where they are too many.

        Raises:
            DiskFull, SinkError: the folder cannot be written; the file is still what it was.
        """
        try:
            older = self._older()
            number = max([self._last, *(number for number, _ in older)]) + 1
            if self._keep is not None:
                _remove_oldest([entry for _, entry in older], self._keep - file.stat().st_size)
            # Last, for until then all of it can be tried again.
            file.rename(self._path.with_name(f"{self._path.stem}.{number:06d}{self._path.suffix}"))
            self._last = number
        except OSError as error:
            raise write_error(file, error) from error

    def _older(self) -> list[tuple[int, Path]]:
        """Return what is there, oldest first. An eight-digit date is no number of ours."""
        name = re.compile(rf"{re.escape(self._path.stem)}\.(\d{{6}}|[1-9]\d{{6}}){re.escape(self._path.suffix)}")
        return numbered(self._path.parent, name)


def numbered(folder: Path, name: re.Pattern[str]) -> list[tuple[int, Path]]:
    """Return the entries of a folder that match a pattern, lowest number first; the number is its first group."""
    matches = ((name.fullmatch(entry.name), entry) for entry in folder.iterdir())
    return sorted((int(match[1]), entry) for match, entry in matches if match)


def _remove_oldest(files: list[Path], keep: int) -> None:
    """Remove what goes beyond ``keep`` bytes, counted from the newest, which is the last."""
    for file in reversed(files):
        with suppress(FileNotFoundError):  # somebody has moved it away
            keep -= file.stat().st_size
            if keep < 0:
                file.unlink()
