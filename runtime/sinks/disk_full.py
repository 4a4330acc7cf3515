"""Keep a live run going when the disk is full: pause writing, resume when there is space."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Generic, TypeVar

from camrt.errors import DiskFull
from camrt.runtime.frames import Sink
from camrt.runtime.sinks.video import RESERVE

CHECK_S: Final = 5.0
"""Seconds between two checks for free space."""


T = TypeVar("T")


class PausingSink(Generic[T]):
    """Writes to another sink, and drops items while the disk is full; it reports each pause and each resumption."""

    def __init__(self, sink: Sink[T], path: Path, tell: Callable[[str], None]) -> None:
        """Wrap a sink.

        Args:
            sink: the sink; it must accept overlays after it has raised DiskFull.
            path: file or folder that the sink writes.
            tell: takes a line for the user.
        """
        self._sink = sink
        self._path = path
        self._tell = tell
        self._full = False
        self._check_at_s = 0.0

    def write(self, item: T, /) -> None:
        """Write one item, or drop it while the disk is full. Raises: SinkError: any other failure."""
        if self._full and not self._has_room():
            return
        try:
            self._sink.write(item)
        except DiskFull as error:
            if not self._full:
                self._tell(f"{error}. Nothing is written to {self._path} until there is space")
            self._full = True
            self._check_at_s = time.monotonic() + CHECK_S
            return
        if self._full:
            self._full = False
            self._tell(f"{self._path} is written again")

    def close(self) -> None:
        """Close the sink. Raises: SinkError."""
        self._sink.close()

    def _has_room(self) -> bool:
        """Return whether to try again. It takes twice the reserve, so that pauses do not follow each other."""
        if time.monotonic() < self._check_at_s:
            return False
        self._check_at_s = time.monotonic() + CHECK_S
        folder = self._path if self._path.is_dir() else self._path.absolute().parent
        return shutil.disk_usage(folder).free >= 2 * RESERVE
