"""What a live source writes may fill the disk, and the picture goes on."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Generic, TypeVar

from camrt.errors import DiskFull
from camrt.runtime.frames import Sink
from camrt.runtime.sinks.video import RESERVE

LOOK_S: Final = 5.0
"""How often it is looked whether there is room again, in seconds."""


T = TypeVar("T")


class PausingSink(Generic[T]):
    """Writes into another sink; while there is no room, overlays go by unwritten. Both is told, once each time."""

    def __init__(self, sink: Sink[T], path: Path, tell: Callable[[str], None]) -> None:
        """Wrap a sink.

        Args:
            sink: takes more after it has raised DiskFull.
            path: where it writes.
            tell: takes a line for the user.
        """
        self._sink = sink
        self._path = path
        self._tell = tell
        self._full = False
        self._look_at_s = 0.0

    def write(self, item: T, /) -> None:
        """Write one item if there is room. Raises: SinkError: there is room, and it fails still."""
        if self._full and not self._is_room():
            return
        try:
            self._sink.write(item)
        except DiskFull as error:
            if not self._full:
                self._tell(f"{error}. Nothing is written to {self._path} until there is room")
            self._full = True
            self._look_at_s = time.monotonic() + LOOK_S
            return
        if self._full:
            self._full = False
            self._tell(f"{self._path} is written again")

    def close(self) -> None:
        """Close the sink. Raises: SinkError."""
        self._sink.close()

    def _is_room(self) -> bool:
        """Tell whether to try again; twice the reserve, so that it does not go on and off."""
        if time.monotonic() < self._look_at_s:
            return False
        self._look_at_s = time.monotonic() + LOOK_S
        folder = self._path if self._path.is_dir() else self._path.absolute().parent
        return shutil.disk_usage(folder).free >= 2 * RESERVE
