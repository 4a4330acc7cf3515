"""Bounded queue between two threads."""

from queue import Empty, SimpleQueue
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")
_END: Final = object()


class Closed(Exception):  # noqa: N818 - a signal, not an error
    """The other side has closed the queue."""


class BoundedQueue(Generic[T]):
    """A bounded queue between two threads, one at each end, that any thread can close.

    With ``drop_oldest`` a full queue drops its oldest item instead of blocking the producer, like GStreamer's leaky
    queue: a slow consumer misses items and adds no delay. This is the only difference between a live source and a file.

    The items, and the room for further ones, are two `SimpleQueue`. These wait in C: a condition of `threading` took
    ten times as long, and held the GIL that all streams share.
    """

    def __init__(self, capacity: int, *, drop_oldest: bool = False) -> None:
        self._items: SimpleQueue[Any] = SimpleQueue()
        self._room: SimpleQueue[None] = SimpleQueue()
        for _ in range(capacity):
            self._room.put(None)
        self._capacity = capacity
        self._drop_oldest = drop_oldest
        self._closed = False
        self.dropped = 0
        """Number of dropped items."""

    def put(self, item: T) -> None:
        """Add an item; waits for room unless the queue drops its oldest item. Raises: Closed."""
        if self._drop_oldest:
            while self._items.qsize() >= self._capacity and not self._closed:
                self._drop()
        else:
            self._room.get()
        if self._closed:
            self._room.put(None)  # for the next call
            raise Closed
        self._items.put(item)

    def get(self, timeout_s: float | None = None) -> T | None:
        """Take the oldest item; None after ``timeout_s``. Raises: Closed: the queue is empty and closed."""
        try:
            item = self._items.get(timeout=timeout_s)
        except Empty:
            return None
        if item is _END:
            self._items.put(_END)  # for the next call
            raise Closed
        if not self._drop_oldest:
            self._room.put(None)
        return item  # type: ignore[no-any-return]

    def close(self, *, discard: bool = False) -> None:
        """Refuse further items. Items inside can still be taken, unless ``discard`` removes them."""
        self._closed = True
        if discard:
            try:
                while True:
                    self._items.get_nowait()
            except Empty:
                pass
        self._items.put(_END)
        self._room.put(None)

    def _drop(self) -> None:
        try:
            item = self._items.get_nowait()
        except Empty:  # the consumer was faster
            return
        if item is _END:  # closed meanwhile
            self._items.put(_END)
        else:
            self.dropped += 1
