"""The row pool draws each row once, on the cores that this process may use."""

import os
import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camrt.cores import usable_cores
from camrt.runtime.maps.row_pool import RowPool


@given(st.integers(0, 200_000), st.integers(0, 200), st.integers(1, 5))
def test_the_bands_cover_every_row_once(width, height, threads):
    pool = RowPool(threads)
    counts = [0] * height
    lock = threading.Lock()

    def draw(rows):
        with lock:
            for row in range(*rows):
                counts[row] += 1

    pool.run(width, height, draw)
    pool.close()
    assert counts == [1] * height


def test_an_error_in_any_band_reaches_the_caller():
    pool = RowPool(2)

    def draw(rows):
        if rows[0] > 0:
            raise RuntimeError("lower half")

    with pytest.raises(RuntimeError, match="lower half"):
        pool.run(10_000, 100, draw)
    pool.close()


def test_large_frames_are_split_among_threads_and_small_ones_are_not():
    pool = RowPool(3)
    names = []
    pool.run(1920, 1080, lambda _: names.append(threading.current_thread().name))
    assert len(names) == 3
    assert len(set(names) - {threading.current_thread().name}) in (
        1,
        2,
    )  # a fast thread may draw two of the three bands
    names.clear()
    pool.run(320, 240, lambda _: names.append(threading.current_thread().name))
    assert names == [threading.current_thread().name]
    pool.close()


@pytest.mark.process
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no CPU affinity on this system")
def test_a_process_pinned_to_one_core_uses_one_core():
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});" + (
        "from camrt.cores import usable_cores; print(usable_cores())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "1"
    assert usable_cores() >= 1
