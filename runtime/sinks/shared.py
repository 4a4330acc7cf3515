"""Share one sink between several pipelines."""

import threading
from typing import Generic, TypeVar

from camrt.runtime.frames import Sink

T = TypeVar("T")


class SharedSink(Generic[T]):
    """Forwards the items of several pipelines, one at a time; closes the sink when the last pipeline has closed."""

    def __init__(self, sink: Sink[T], users: int) -> None:
        self._sink = sink
        self._users = users
        self._lock = threading.Lock()

    def write(self, item: T, /) -> None:
        """Write one item. Raises: SinkError."""
        with self._lock:
            self._sink.write(item)

    def close(self) -> None:
        """Close the sink if all other pipelines have closed. Raises: SinkError."""
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._sink.close()
