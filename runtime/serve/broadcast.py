"""Broadcast of messages from the publishing thread to subscribers in the server's event loop."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Subscriber:
    """One subscriber of a broadcast. Only the event loop touches it."""

    def __init__(self) -> None:
        self._wake = asyncio.Event()
        self._newest: bytes | None = None

    def put(self, message: bytes | None) -> None:
        """Replace a message that was not taken yet; None only wakes `take`."""
        self._newest = message or self._newest
        self._wake.set()

    async def take(self, timeout_s: float) -> bytes | None:
        """Wait for the newest message and return it; None after ``timeout_s``, or when woken without one."""
        try:
            await asyncio.wait_for(self._wake.wait(), timeout_s)
        except TimeoutError:
            return None
        self._wake.clear()
        message, self._newest = self._newest, None
        return message


class Broadcast:
    """Messages for many subscribers. A slow subscriber skips messages; at most one is buffered for it."""

    def __init__(self, capacity: int, on_arrival: Callable[[], None]) -> None:
        """Make a broadcast without subscribers.

        Args:
            capacity: most subscribers at once.
            on_arrival: called when a subscriber comes, so that it gets a message soon.
        """
        self.capacity = capacity
        self.closed = False
        self.has_newcomer = False
        """A subscriber has come that has got no message yet; the publisher resets it."""
        self._on_arrival = on_arrival
        self._subscribers: set[Subscriber] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def subscribers(self) -> int:
        """Number of subscribers."""
        return len(self._subscribers)

    @contextmanager
    def subscribe(self) -> Iterator[Subscriber]:
        """Subscribe, in the event loop; the caller has checked the capacity."""
        self._loop = asyncio.get_running_loop()
        subscriber = Subscriber()
        self._subscribers.add(subscriber)
        self.has_newcomer = True
        self._on_arrival()
        try:
            yield subscriber
        finally:
            self._subscribers.remove(subscriber)

    def publish(self, message: bytes) -> None:
        """Send a message to all subscribers, from any thread."""
        self._put_in_loop(message)

    def close(self) -> None:
        """Release all subscribers, from any thread."""
        self.closed = True
        self._put_in_loop(None)

    def _put_in_loop(self, message: bytes | None) -> None:
        def put() -> None:
            for subscriber in self._subscribers:
                subscriber.put(message)

        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(put)
