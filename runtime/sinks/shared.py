"""One sink for several cameras."""

import threading
from typing import Generic, TypeVar

from camrt.runtime.frames import Sink

T = TypeVar("T")


class SharedSink(Generic[T]):
    """Passes on what several pipelines write, one at a time, and closes when the last of them has closed."""

    def __init__(self, sink: Sink[T], users: int) -> None:
        self._sink = sink
        self._users = users
        self._lock = threading.Lock()

    def write(self, item: T, /) -> None:
        """Take one item. Raises: SinkError."""
        with self._lock:
            self._sink.write(item)

    def close(self) -> None:
        """Say that one of them writes no more. Raises: SinkError."""
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._sink.close()
