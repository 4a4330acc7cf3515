"""A log of what was seen: one JSON object a line."""

import json
import os
import sys
from contextlib import suppress
from pathlib import Path

from camrt.errors import SinkError
from camrt.files import refuse_existing, write_error
from camrt.runtime.frames import StreamItem
from camrt.runtime.record import record
from camrt.runtime.sinks.crash_safe_file import CrashSafeFile
from camrt.runtime.sinks.rotation import Rotation, Series

_LONGEST_LINE = 2**20  # bytes; five labels and some boxes are far from it


class EventSink:
    """Writes one line of JSON per overlay, at once, so that others can follow the file while it grows.

    A line is written whole or not at all. The end of the process loses none; that of the computer about the last
    second's, for the file is synced once a second (`SYNC_S`), by the thread that writes.
    """

    def __init__(
        self, path: Path | str, *, overwrite: bool = False, rotation: Rotation | None = None, resume: bool = False
    ) -> None:
        """Open the file.

        Args:
            path: where to; ``-`` is the standard output.
            overwrite: an old file may be replaced.
            rotation: when the file is set aside and a new one begun; None: never.
            resume: an old file is continued; a last line that was cut off, as by a power failure, is removed.

        Raises:
            UsageError: the file exists, or is a folder.
            SinkError: nothing can be written there.
        """
        self._path = Path(path)
        self._rotation = rotation
        self._older = Series(self._path, None if rotation is None else rotation.keep)
        self._printed = str(path) == "-"
        self._file: CrashSafeFile | None = None
        if self._printed:
            return
        continued = resume and not overwrite and self._path.is_file()
        refuse_existing(self._path, overwrite=overwrite or continued)
        if continued:
            _cut_torn_line(self._path)
        self._file = CrashSafeFile(self._path, append=continued)
        if not self._path.is_file():  # a pipe has no size, and whoever reads it wants it to stay
            self._rotation = None

    def write(self, item: StreamItem, /) -> None:
        """Append one line. What cannot be written whole is taken back.

        Raises:
            DiskFull: there is no room for it.
            SinkError: it cannot be written, or nobody reads the standard output any more.
        """
        line = json.dumps(record(item), allow_nan=False).encode() + b"\n"
        if self._printed:
            self._print(line.decode())
            return
        file = self._file_with_room(len(line))
        try:
            file.write(line)
        except SinkError:
            file.undo()
            raise
        file.keep()

    def close(self) -> None:
        """Close the file; one without a line is removed. Raises: SinkError."""
        if self._file is not None:
            self._file.close()
            if self._file.whole == 0 and self._path.is_file():
                self._path.unlink()
            self._file = None

    def _file_with_room(self, size: int) -> CrashSafeFile:
        """Return the file that the next ``size`` bytes go to. Raises: DiskFull, SinkError."""
        # Where it could not be set aside the last time, it still holds its lines.
        file = self._file or CrashSafeFile(self._path, append=True)
        if self._rotation is not None and 0 < file.whole > self._rotation.size - size:
            self._file = None
            file.close()
            self._older.add(self._path)
            file = CrashSafeFile(self._path, append=True)
        self._file = file
        return file

    def _print(self, line: str) -> None:
        try:
            sys.stdout.write(line)
            sys.stdout.flush()
        except OSError as error:
            # Python flushes once more when it ends, and would complain about the same broken pipe.
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SinkError(f"the events cannot be written to the standard output: {error.strerror}") from error


def _cut_torn_line(path: Path) -> None:
    """Remove what follows the last line break. Raises: SinkError: it is something else, or cannot be changed."""
    try:
        with path.open("r+b") as file:
            start = max(0, file.seek(0, os.SEEK_END) - _LONGEST_LINE)
            file.seek(start)
            tail = file.read()
            end = tail.rfind(b"\n") + 1
            if end == 0 and tail and (start or not tail.startswith(b'{"frame": ')):
                raise SinkError(f"{path} is no log of events and is not continued; choose another name")
            file.truncate(start + end)
    except OSError as error:
        raise write_error(path, error) from error
