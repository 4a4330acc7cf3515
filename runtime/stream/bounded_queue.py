"""Hand frames from one thread to the next."""

import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Closed(Exception):  # noqa: N818 - a signal, not an error
    """The other side will give, or take, nothing more."""


class BoundedQueue(Generic[T]):
    """A bounded queue between two threads that either side can close.

    With ``drop_oldest`` a full queue forgets its oldest item instead of making the giver wait: a slow taker then adds
    no delay, it only misses items. That is the one difference between a live source and a file.
    """

    def __init__(self, capacity: int, *, drop_oldest: bool = False) -> None:
        self._items: deque[T] = deque()
        self._capacity = capacity
        self._newest_only = drop_oldest
        self._changed = threading.Condition()
        self._closed = False
        self.dropped = 0
        """Items that were forgotten."""

    def put(self, item: T) -> None:
        """Give an item; waits for room unless only the newest counts. Raises: Closed."""
        with self._changed:
            if self._newest_only:
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
        """Take the oldest item; None when none came in time. Raises: Closed: none is left and none will come."""
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
        """Take no more items; what is inside can still be taken unless it is discarded."""
        with self._changed:
            self._closed = True
            if discard:
                self._items.clear()
            self._changed.notify_all()
