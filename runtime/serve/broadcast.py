"""From the thread that publishes to the viewers, who live in the server's event loop."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Viewer:
    """Somebody who watches a channel. Only the event loop touches it."""

    def __init__(self) -> None:
        self._news = asyncio.Event()
        self._newest: bytes | None = None

    def give(self, message: bytes | None) -> None:
        """Replace what was not taken yet; None only wakes `take`."""
        self._newest = message or self._newest
        self._news.set()

    async def take(self, timeout_s: float) -> bytes | None:
        """Wait for the newest message, and return it; None after ``timeout_s``, or when woken without one."""
        try:
            await asyncio.wait_for(self._news.wait(), timeout_s)
        except TimeoutError:
            return None
        self._news.clear()
        message, self._newest = self._newest, None
        return message


class Channel:
    """Messages that many watch; each viewer gets the newest when it is ready for it, and holds no other."""

    def __init__(self, most: int, arrived: Callable[[], None]) -> None:
        """Make a channel that nobody watches.

        Args:
            most: viewers at once.
            arrived: called when a viewer comes, who is to get a message soon.
        """
        self.most = most
        self.closed = False
        self.fresh = False
        """A viewer came who has got nothing yet; whoever publishes sets it back."""
        self._arrived = arrived
        self._viewers: set[Viewer] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def watched(self) -> int:
        """How many watch."""
        return len(self._viewers)

    @contextmanager
    def watch(self) -> Iterator[Viewer]:
        """Be a viewer, in the event loop; the caller has looked whether there is room."""
        self._loop = asyncio.get_running_loop()
        viewer = Viewer()
        self._viewers.add(viewer)
        self.fresh = True
        self._arrived()
        try:
            yield viewer
        finally:
            self._viewers.remove(viewer)

    def publish(self, message: bytes) -> None:
        """Give a message to all viewers, from any thread."""
        self._in_loop(message)

    def close(self) -> None:
        """Let the viewers go, from any thread."""
        self.closed = True
        self._in_loop(None)

    def _in_loop(self, message: bytes | None) -> None:
        def give() -> None:
            for viewer in self._viewers:
                viewer.give(message)

        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(give)
