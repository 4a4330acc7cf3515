"""A pool of threads that draws bands of image rows."""

import threading
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from queue import SimpleQueue
from typing import Final

_HEAD_START: Final = 200_000
"""Pixels that the calling thread draws while another thread wakes up, about 0.1 ms; its band has this many more."""
_LEAST_SHARE: Final = 100_000
"""Fewest pixels for which waking a thread pays."""


class RowPool:
    """Runs a function over bands of rows on a fixed number of threads; the calling thread takes the first band.

    The kernels are serial and release the GIL. Numba's own ``parallel=True`` is not used: under its ``workqueue``
    layer, two threads that draw at once abort the process. Only one thread at a time may call `run`.
    """

    def __init__(self, threads: int) -> None:
        self._tasks: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._done: SimpleQueue[BaseException | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"camrt-rows-{number}", daemon=True)
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
        for band in pairwise(edges[1:]):
            self._tasks.put(partial(draw, band))
        errors: list[BaseException | None] = []
        try:
            draw((0, edges[1]))
        except BaseException as error:  # noqa: BLE001 - raised again below
            errors.append(error)
        errors += [self._done.get() for _ in edges[2:]]
        failures = [error for error in errors if error is not None]
        if failures:
            raise failures[0]

    def close(self) -> None:
        """End the threads."""
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()

    def _edges(self, width: int, height: int) -> list[int]:
        """Return the first row of each band and the end of the last; the first band belongs to the calling thread."""
        others = len(self._threads)
        shared = (height - _HEAD_START // max(1, width)) // (others + 1)  # rows for each of the others
        if shared < 1 or shared * width < _LEAST_SHARE:
            return [0, height]
        return [0, *(height - shared * number for number in range(others, -1, -1))]

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            try:
                task()
            except BaseException as error:  # noqa: BLE001 - raised again in the calling thread
                self._done.put(error)
            else:
                self._done.put(None)
