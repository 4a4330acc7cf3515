"""One sink for several cameras."""

import threading

from camrt.runtime.frames import Rendered, Sink


class SharedSink:
    """Passes on what several pipelines write, one at a time, and closes when the last of them has closed."""

    def __init__(self, sink: Sink, users: int) -> None:
        self._sink = sink
        self._users = users
        self._lock = threading.Lock()

    def write(self, rendered: Rendered) -> None:
        """Take one overlay. Raises: SinkError."""
        with self._lock:
            self._sink.write(rendered)

    def close(self) -> None:
        """Say that one of them writes no more. Raises: SinkError."""
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._sink.close()
