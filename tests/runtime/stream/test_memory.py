"""A stream may run for weeks: the steady loop allocates nothing of a frame's size, and memory stays where it is."""

import sys
import tracemalloc

import pytest

from camrt.benchmarks.bench import FramesFromMemory, memory_mb, pipeline, random_images

WARM = 20


def test_no_array_of_a_frame_s_size_is_allocated_for_a_frame(model):
    images = random_images(1920, 1080)
    most = []

    def watch(rendered):
        if rendered.frame.index == WARM:
            tracemalloc.start()  # NumPy tells it of its arrays
        elif rendered.frame.index > WARM:
            current, peak = tracemalloc.get_traced_memory()
            most.append(peak - current)
            tracemalloc.reset_peak()

    try:
        pipeline(model, FramesFromMemory(images, 3 * WARM)).run(watch)
    finally:
        tracemalloc.stop()
    assert len(most) == 2 * WARM - 1
    assert max(most) < images[0].nbytes / 4


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only the most that it ever was is known")
def test_memory_stays_where_it_is(model):
    images = random_images(640, 480)
    seen = {}

    def watch(rendered):
        if rendered.frame.index in (500, 3999):
            seen[rendered.frame.index] = memory_mb()

    pipeline(model, FramesFromMemory(images, 4000)).run(watch)
    assert seen[3999] - seen[500] < 3  # megabytes: half of one could be lost for each thousand frames
