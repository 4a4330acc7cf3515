"""Write the event log: one JSON object per line."""

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

_LONGEST_LINE = 2**20  # bytes; a line with five labels and some boxes is much shorter


class EventSink:
    """Writes one line of JSON per item at once, so that other programs can follow the file.

    A line is written completely or not at all. A killed process loses no line. A power failure loses about a second,
    because the writing thread syncs the file once a second (`SYNC_S`).
    """

    def __init__(
        self, path: Path | str, *, overwrite: bool = False, rotation: Rotation | None = None, resume: bool = False
    ) -> None:
        """Open the file.

        Args:
            path: the file; ``-`` is the standard output.
            overwrite: allow an existing file to be replaced.
            rotation: at which size a new file begins; None: never.
            resume: continue an existing file; an incomplete last line, as after a power failure, is removed.

        Raises:
            UsageError: the file exists, is a folder, or another process writes it.
            SinkError: the file cannot be written.
        """
        self._path = Path(path)
        self._rotation = rotation
        self._older = Series(self._path, None if rotation is None else rotation.keep)
        self._printed = str(path) == "-"
        self._file: CrashSafeFile | None = None
        if self._printed:
            return
        append = resume and not overwrite and self._path.is_file()
        refuse_existing(self._path, overwrite=overwrite or append)
        self._file = CrashSafeFile(self._path, append=append)
        if append:
            try:
                self._file.whole = _end_of_lines(self._path)
            except SinkError:
                self._file.close()
                raise
            self._file.undo()
        if not self._path.is_file():  # a pipe has no size, and its reader needs it to stay
            self._rotation = None

    def write(self, item: StreamItem, /) -> None:
        """Append one line; an incomplete line is removed again.

        Raises:
            DiskFull: the line does not fit on the disk.
            SinkError: the line cannot be written, or the reader of the standard output has ended.
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
        """Close the file, and remove it if it has no line. Raises: SinkError."""
        if self._file is not None:
            if self._file.whole == 0 and self._path.is_file():
                self._path.unlink()  # while it is locked
            self._file.close()
            self._file = None

    def _file_with_room(self, size: int) -> CrashSafeFile:
        """Return the file for the next ``size`` bytes, after a rotation if needed. Raises: DiskFull, SinkError."""
        # After a failed rotation the file still has its lines.
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
            # Python flushes again at its exit, and would report the same broken pipe.
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SinkError(f"the events cannot be written to the standard output: {error.strerror}") from error


def _end_of_lines(path: Path) -> int:
    """Return the number of bytes of the complete lines. Raises: SinkError: the file is no event log."""
    try:
        with path.open("rb") as file:
            start = max(0, file.seek(0, os.SEEK_END) - _LONGEST_LINE)
            file.seek(start)
            tail = file.read()
            end = tail.rfind(b"\n") + 1
            if end == 0 and tail and (start or not tail.startswith(b'{"frame": ')):
                raise SinkError(f"{path} is not an event log and cannot be continued; choose another name")
            return start + end
    except OSError as error:
        raise write_error(path, error) from error
