"""Keep captures of CUDA graphs and copies of other threads apart."""

import contextlib
import threading
from collections.abc import Iterator


class CaptureGate:
    """Lets any number of threads copy at once, and one capture when none copies.

    CUDA fails a capture if another thread of the process copies or allocates meanwhile.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._copies = 0
        self._capturing = False

    @contextlib.contextmanager
    def copying(self) -> Iterator[None]:
        """Wait until no graph is captured."""
        with self._changed:
            self._changed.wait_for(lambda: not self._capturing)
            self._copies += 1
        try:
            yield
        finally:
            with self._changed:
                self._copies -= 1
                self._changed.notify_all()

    @contextlib.contextmanager
    def capturing(self) -> Iterator[None]:
        """Wait until no thread copies; one thread of the process captures."""
        with self._changed:
            self._capturing = True  # first, so that copies that come meanwhile wait
            self._changed.wait_for(lambda: self._copies == 0)
        try:
            yield
        finally:
            with self._changed:
                self._capturing = False
                self._changed.notify_all()
