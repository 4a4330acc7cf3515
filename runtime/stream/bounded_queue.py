"""Bounded queue between two threads."""

import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Closed(Exception):  # noqa: N818 - a signal, not an error
    """The other side has closed the queue."""


class BoundedQueue(Generic[T]):
    """A bounded queue between two threads that either side can close.

    With ``drop_oldest`` a full queue drops its oldest item instead of blocking the producer, like GStreamer's leaky
    queue: a slow consumer misses items and adds no delay. This is the only difference between a live source and a file.
    """

    def __init__(self, capacity: int, *, drop_oldest: bool = False) -> None:
        self._items: deque[T] = deque()
        self._capacity = capacity
        self._drop_oldest = drop_oldest
        self._changed = threading.Condition()
        self._closed = False
        self.dropped = 0
        """Number of dropped items."""

    def put(self, item: T) -> None:
        """Add an item; waits for room unless the queue drops its oldest item. Raises: Closed."""
        with self._changed:
            if self._drop_oldest:
                while len(self._items) >= self._capacity:
                    self._items.popleft()
                    self.dropped += 1
            else:
                self._changed.wait_for(lambda: self._closed or len(self._items) < self._capacity)
            if self._closed:
                raise Closed
            self._items.append(item)
            self._changed.notify_all()

    def get(self, timeout_s: float | None = None) -> T | None:
        """Take the oldest item; None after ``timeout_s``. Raises: Closed: the queue is empty and closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or bool(self._items), timeout_s)
            if self._items:
                item = self._items.popleft()
                self._changed.notify_all()
                return item
            if self._closed:
                raise Closed
            return None

    def close(self, *, discard: bool = False) -> None:
        """Refuse further items. Items inside can still be taken, unless ``discard`` removes them."""
        with self._changed:
            self._closed = True
            if discard:
                self._items.clear()
            self._changed.notify_all()
