"""A file that grows for hours and must be good at any moment."""

import os
import time
from contextlib import suppress
from io import SEEK_CUR, SEEK_END, SEEK_SET, FileIO
from pathlib import Path
from typing import Final

from camrt.errors import DiskFull
from camrt.files import write_error

SYNC_S: Final = 1.0
"""What is written reaches the system at once, and the disk itself at most so often, in seconds: a file survives the end
of its process without loss, and that of its computer but for about a second."""


class CrashSafeFile:
    """A file that is written in pieces; where a piece does not fit, it is taken back.

    Nothing that was `keep`-ed is overwritten before `close`, and then only when all else is on the disk: so there is no
    moment at which the death of the process spoils it. Muxers write to it as to any binary file.
    """

    def __init__(self, path: Path, *, append: bool = False) -> None:
        """Open it.

        Args:
            path: where to.
            append: what it holds is kept, and counts as whole.

        Raises:
            DiskFull, SinkError: it cannot be written.
        """
        self._path = path
        try:
            self._file = FileIO(path, "ab" if append else "wb")
        except OSError as error:
            raise write_error(path, error) from error
        self.whole = self._file.tell() if append else 0
        """Bytes that are whole."""
        self._at = self.whole
        self._patches: list[tuple[int, bytes]] = []
        self._synced_s = time.monotonic()
        self._regular = path.is_file()  # the others, as pipes, can be neither synced nor cut

    def write(self, data: bytes) -> int:
        """Write a part of a piece. Raises: DiskFull, SinkError."""
        data = bytes(data)
        patched = data[: max(0, self.whole - self._at)]
        if patched:
            self._patches.append((self._at, patched))
        rest = data[len(patched) :]
        if rest:
            try:
                if self._regular:
                    self._file.seek(max(self._at, self.whole))
                written = self._file.write(rest)
            except OSError as error:
                raise write_error(self._path, error) from error
            if written != len(rest):
                raise DiskFull(f"{self._path} cannot be written: the disk is full")
        self._at += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        """Go to a byte, as a muxer does to fill in what it did not know before."""
        start = {SEEK_SET: 0, SEEK_CUR: self._at, SEEK_END: self._end()}[whence]
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        """Return the byte at which the next one is written."""
        return self._at

    def keep(self) -> None:
        """Count everything so far as whole, and have it on the disk if the last time is a second ago."""
        self.whole = self._end()
        if self._regular and time.monotonic() - self._synced_s >= SYNC_S:
            with suppress(OSError):  # a disk that fails is told by the next write
                os.fdatasync(self._file.fileno())
            self._synced_s = time.monotonic()

    def undo(self) -> None:
        """Take back what is not whole."""
        self._patches.clear()
        self._at = self.whole
        if self._regular:
            with suppress(OSError):
                self._file.truncate(self.whole)

    def close(self) -> None:
        """Have all of it on the disk and close it; harmless when called twice. Raises: DiskFull, SinkError."""
        if self._file.closed:
            return
        try:
            if self._regular:
                os.fsync(self._file.fileno())
                for offset, data in self._patches:
                    os.pwrite(self._file.fileno(), data, offset)
        except OSError as error:
            raise write_error(self._path, error) from error
        finally:
            self._file.close()

    def _end(self) -> int:
        return os.fstat(self._file.fileno()).st_size if self._regular else self._at
