"""The row pool draws each row once, for any number of callers, on the cores that this process may use."""

import os
import subprocess
import sys
import threading
import time

import numpy as np
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
    together = threading.Barrier(3, timeout=30)
    names = set()

    def draw(_):
        if len(names) < 3:
            names.add(threading.current_thread().name)
            together.wait()

    pool.run(1920, 1080, draw)
    assert names == {threading.current_thread().name, "camrt-rows-1", "camrt-rows-2"}
    bands = []
    pool.run(320, 240, bands.append)
    assert bands == [(0, 240)]
    pool.close()


def test_several_threads_draw_with_one_pool():
    pool = RowPool(3)
    wrong = []

    def work(number):
        image = np.zeros((600, 1000), np.uint8)
        for turn in range(1, 50):

            def draw(rows):
                image[rows[0] : rows[1]] += number

            pool.run(1000, 600, draw)
            if not (image == (number * turn) % 256).all():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in (1, 2, 3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pool.close()
    assert not wrong


def test_a_caller_draws_alone_while_the_pool_is_busy():
    pool = RowPool(2)
    started, release = threading.Event(), threading.Event()

    def hold(_):
        started.set()
        release.wait(30)

    busy = threading.Thread(target=pool.run, args=(1000, 1000, hold))
    busy.start()
    started.wait(30)
    while pool._idle:  # the other thread of the pool takes its first band
        time.sleep(0.001)
    bands = []
    pool.run(1000, 1000, bands.append)
    assert bands == [(0, 1000)]
    release.set()
    busy.join()
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
