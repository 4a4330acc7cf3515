"""Cancel work of another library that does not end in time. Needs the standard library only."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def cancelled_after(seconds: float, cancel: Callable[[], object]) -> Iterator[Callable[[], bool]]:
    """Call ``cancel`` in another thread if the block takes longer than ``seconds``.

    Yields: a function that tells whether that has happened.
    """
    late = threading.Event()

    def end() -> None:
        late.set()
        cancel()

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield late.is_set
    finally:
        timer.cancel()
