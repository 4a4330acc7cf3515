"""How many threads this process may use, and rows of a picture shared out over them."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

_CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def usable_cores() -> int:
    """Return the number of cores this process may really use: its affinity, capped by a container's CPU quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = _CGROUP_QUOTA.read_text().split()
    except (OSError, ValueError):
        return cores
    if quota == "max":
        return cores
    return max(1, min(cores, int(quota) // int(period)))


class RowPool:
    """Runs a function over bands of rows on a fixed number of threads; the calling thread takes the first band.

    The kernels are serial and release the GIL. Numba's own ``parallel=True`` is not used: under its ``workqueue``
    layer two threads that draw at once abort the process.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads - 1, "camrt-rows") if threads > 1 else None

    def run(self, height: int, draw: Callable[[tuple[int, int]], object]) -> None:
        """Call ``draw((first, stop))`` for bands that together cover ``range(height)``; returns when all are done."""
        if self._pool is None or height < 2 * self._threads:
            draw((0, height))
            return
        edges = [height * i // self._threads for i in range(self._threads + 1)]
        bands = list(pairwise(edges))
        others = [self._pool.submit(draw, band) for band in bands[1:]]
        draw(bands[0])
        for other in others:
            other.result()

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()
