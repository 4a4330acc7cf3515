"""Write a file that grows for hours and survives a crash at any moment."""

import os
import time
from contextlib import suppress
from io import SEEK_CUR, SEEK_END, SEEK_SET, FileIO
from pathlib import Path
from typing import Final

from camrt.errors import DiskFull
from camrt.exclusive_file import open_exclusive
from camrt.files import write_error

SYNC_S: Final = 1.0
"""Seconds between two syncs to the disk. Every write reaches the operating system at once, so a killed process loses
nothing, and a power failure costs about a second."""


class CrashSafeFile:
    """A binary file that is written in pieces; a piece that does not fit on the disk is removed again.

    ``whole`` is a watermark. `keep` moves it to the end of the file, and nothing below it changes before `close`::

        byte 0                        whole                  end
          |------- kept pieces --------|---- current piece ---|
                     ^                           ^
          write here: a patch in memory   write here: into the file
          keep:       whole = end
          undo:       forget the patches, cut the file at whole
          close:      sync the file to the disk, then write the patches

    So the kept pieces can be read at every moment, also after the process was killed. A muxer writes to this class as
    to any binary file: it appends data, then seeks back to fill in a length or an index position.
    """

    def __init__(self, path: Path, *, append: bool = False) -> None:
        """Open the file for this process alone.

        Args:
            path: the file.
            append: keep its content, all of it below the watermark.

        Raises:
            UsageError: another process writes the file.
            DiskFull, SinkError: the file is a link, or cannot be written.
        """
        self.path = path
        """The file."""
        self._file = FileIO(open_exclusive(path, keep=append), "wb")
        self._regular = path.is_file()  # a pipe can be neither synced nor cut
        self.whole = self._end() if append and self._regular else 0
        """The watermark: number of bytes that were kept."""
        self._at = self.whole
        self._patches: list[tuple[int, bytes]] = []
        self._synced_s = time.monotonic()

    def write(self, data: bytes) -> int:
        """Write bytes at the current position, and return their number. Raises: DiskFull, SinkError."""
        data = bytes(data)
        patch = data[: max(0, self.whole - self._at)]
        if patch:
            self._patches.append((self._at, patch))
        rest = data[len(patch) :]
        if rest:
            try:
                if self._regular:
                    self._file.seek(max(self._at, self.whole))
                count = self._file.write(rest)
            except OSError as error:
                raise write_error(self.path, error) from error
            if count != len(rest):
                raise DiskFull(f"{self.path} cannot be written: the disk is full")
        self._at += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        """Move the current position, as for any binary file, and return it."""
        start = {SEEK_SET: 0, SEEK_CUR: self._at, SEEK_END: self._end()}[whence]
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        """Return the current position in bytes."""
        return self._at

    def keep(self) -> None:
        """Move the watermark to the end; sync to the disk if the last sync is `SYNC_S` seconds ago."""
        self.whole = self._end()
        if self._regular and time.monotonic() - self._synced_s >= SYNC_S:
            with suppress(OSError):  # the next write reports a failing disk
                os.fdatasync(self._file.fileno())
            self._synced_s = time.monotonic()

    def undo(self) -> None:
        """Remove everything above the watermark, and forget the patches."""
        self._patches.clear()
        self._at = self.whole
        if self._regular:
            with suppress(OSError):
                self._file.truncate(self.whole)

    def close(self) -> None:
        """Sync the file, write the patches and close; a second call does nothing. Raises: DiskFull, SinkError."""
        if self._file.closed:
            return
        try:
            if self._regular:
                os.fsync(self._file.fileno())
                for offset, data in self._patches:
                    os.pwrite(self._file.fileno(), data, offset)
        except OSError as error:
            raise write_error(self.path, error) from error
        finally:
            self._file.close()

    def _end(self) -> int:
        return os.fstat(self._file.fileno()).st_size if self._regular else self._at
