"""Rotate files: give finished ones a number, and remove the oldest."""

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from camrt.files import file_name, write_error


@dataclass(frozen=True, slots=True)
class Rotation:
    """When a file is rotated, and how much of the numbered files is kept."""

    size: int
    """Bytes after which a new file begins."""
    keep: int
    """Total bytes of the numbered files; the oldest beyond it are removed."""


class Series:
    """The finished files of one output, with numbers that only grow: ``seen.000001.mp4`` of ``seen.mp4``.

    Numbers keep the order even if the clock changes or a new run starts. The next number is one above the highest in
    the folder and the highest of this run, even if files were moved away.
    """

    def __init__(self, path: Path, keep: int | None) -> None:
        """Start a series, or continue that of an earlier run.

        Args:
            path: the output, without a number.
            keep: total bytes of the numbered files; the newest always stays. None: all stay.
        """
        self._path = path
        self._keep = keep
        self._last = 0

    def add(self, file: Path) -> None:
        """Give a finished file of the same folder the next number, and remove the oldest files beyond ``keep``.

        Raises:
            DiskFull, SinkError: the folder cannot be written; the file keeps its name.
        """
        try:
            older = self._older()
            number = max([self._last, *(number for number, _ in older)]) + 1
            if self._keep is not None:
                _remove_oldest([entry for _, entry in older], self._keep - file.stat().st_size)
            # Rename last: until then the whole step can be repeated.
            file.rename(self._path.with_name(file_name(self._path.stem, f".{number:06d}{self._path.suffix}")))
            self._last = number
        except OSError as error:
            raise write_error(file, error) from error

    def _older(self) -> list[tuple[int, Path]]:
        """Return number and path of the numbered files, oldest first. A date of eight digits is no such number."""
        before, _, after = file_name(self._path.stem, f".000000{self._path.suffix}").rpartition("000000")
        name = re.compile(rf"{re.escape(before)}(\d{{6}}|[1-9]\d{{6}}){re.escape(after)}")
        return numbered(self._path.parent, name)


def numbered(folder: Path, name: re.Pattern[str]) -> list[tuple[int, Path]]:
    """Return the entries of a folder that match a pattern, lowest number first; the number is its first group."""
    matches = ((name.fullmatch(entry.name), entry) for entry in folder.iterdir())
    return sorted((int(match[1]), entry) for match, entry in matches if match)


def _remove_oldest(files: list[Path], keep: int) -> None:
    """Remove files beyond ``keep`` bytes, counted from the newest, which is the last of the list."""
    for file in reversed(files):
        with suppress(FileNotFoundError):  # another program has moved the file away
            keep -= file.stat().st_size
            if keep < 0:
                file.unlink()
