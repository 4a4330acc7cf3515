"""Share one sink between several pipelines."""

import threading

from camrt.runtime.frames import Rendered, Sink


class SharedSink:
    """Forwards the overlays of several pipelines, one at a time; closes the sink when the last pipeline has closed."""

    def __init__(self, sink: Sink, users: int) -> None:
        self._sink = sink
        self._users = users
        self._lock = threading.Lock()

    def write(self, rendered: Rendered) -> None:
        """Write one overlay. Raises: SinkError."""
        with self._lock:
            self._sink.write(rendered)

    def close(self) -> None:
        """Close the sink if all other pipelines have closed. Raises: SinkError."""
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._sink.close()
