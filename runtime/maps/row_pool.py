"""Threads that help to draw images, shared by everything that draws in this process."""

import threading
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from queue import SimpleQueue
from typing import Final

_LEAST_SHARED: Final = 500_000
"""Fewest pixels of an image that is shared: the calling thread draws 200,000 while another one wakes up."""
_MOST_THREADS: Final = 4
"""Drawing an image is limited by the memory: on 16 cores, 1080p takes 0.49 ms with 4 threads and 0.83 ms with 8."""
_BANDS_PER_THREAD: Final = 2
"""More bands balance threads that start late; each costs a call from Python."""


class _Drawing:
    """The bands of one image; threads take one after the other until none is left."""

    def __init__(self, bands: list[tuple[int, int]], draw: Callable[[tuple[int, int]], object]) -> None:
        self._bands = bands
        self._draw = draw
        self._lock = threading.Lock()
        self._unfinished = len(bands)
        self.finished = threading.Event()
        self.errors: list[BaseException] = []

    def work(self) -> None:
        """Draw bands until all are taken."""
        while True:
            with self._lock:
                if not self._bands:
                    return
                band = self._bands.pop()
            try:
                self._draw(band)
            except BaseException as error:  # noqa: BLE001 - raised again in the calling thread
                self.errors.append(error)
            with self._lock:
                self._unfinished -= 1
                if not self._unfinished:
                    self.finished.set()


class RowPool:
    """Runs a function over bands of rows; the calling thread takes bands too.

    Any number of threads may call `run` at once. Idle threads of the pool help whoever asks first, so the process never
    draws with more threads than callers and pool have together.

    The kernels are serial and release the GIL. Numba's own ``parallel=True`` is not used: under its ``workqueue``
    layer, two threads that draw at once abort the process.
    """

    def __init__(self, threads: int) -> None:
        """Start ``threads`` - 1 threads, because the calling thread is one of them."""
        self._drawings: SimpleQueue[_Drawing | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._idle = threads - 1
        self._threads = [
            threading.Thread(target=self._help, name=f"camrt-rows-{number}", daemon=True)
            for number in range(1, threads)
        ]
        for thread in self._threads:
            thread.start()

    def run(self, width: int, height: int, draw: Callable[[tuple[int, int]], object]) -> None:
        """Call ``draw((first, stop))`` for bands that together cover ``range(height)``; returns when all are done.

        Args:
            width: pixels in a row.
            height: rows.
            draw: draws the rows of one band; its error is raised here after all bands.
        """
        edges = self._edges(width, height)
        helpers = self._take_idle(len(edges) - 2)
        if not helpers:
            draw((0, height))
            return
        drawing = _Drawing(list(pairwise(edges)), draw)
        for _ in range(helpers):
            self._drawings.put(drawing)
        drawing.work()
        drawing.finished.wait()
        if drawing.errors:
            raise drawing.errors[0]

    def close(self) -> None:
        """End the threads."""
        for _ in self._threads:
            self._drawings.put(None)
        for thread in self._threads:
            thread.join()

    def _edges(self, width: int, height: int) -> list[int]:
        """Return the first row of each band, and the end of the last."""
        if width * height < _LEAST_SHARED:
            return [0, height]
        bands = min(_BANDS_PER_THREAD * (len(self._threads) + 1), height)
        return [height * number // bands for number in range(bands + 1)]

    def _take_idle(self, most: int) -> int:
        """Return the number of idle threads, ``most`` at most; they are no longer idle."""
        with self._lock:
            taken = min(most, self._idle)
            self._idle -= taken
            return taken

    def _help(self) -> None:
        while (drawing := self._drawings.get()) is not None:
            drawing.work()
            with self._lock:
                self._idle += 1


def drawing_threads(cores: int) -> int:
    """Return the number of threads that draw an image fastest on so many free cores."""
    return min(cores, _MOST_THREADS)


@lru_cache
def shared_pool(threads: int) -> RowPool:
    """Return the pool of this process with so many threads; it lives as long as the process."""
    return RowPool(threads)
