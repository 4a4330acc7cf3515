"""Memory of a long stream: no allocation of a frame's size for each frame, and no growth."""

import sys
import tracemalloc

import pytest

from camrt.benchmarks.bench import FramesFromMemory, memory_mb, pipeline, random_images

WARM = 20


def test_a_frame_allocates_no_array_of_its_size(model):
    images = random_images(1920, 1080)
    peaks = []

    def watch(rendered):
        if rendered.frame.index == WARM:
            tracemalloc.start()  # NumPy reports its arrays to tracemalloc
        elif rendered.frame.index > WARM:
            current, peak = tracemalloc.get_traced_memory()
            peaks.append(peak - current)
            tracemalloc.reset_peak()

    try:
        pipeline(model, FramesFromMemory(images, 3 * WARM)).run(watch)
    finally:
        tracemalloc.stop()
    assert len(peaks) == 2 * WARM - 1
    assert max(peaks) < images[0].nbytes / 4


@pytest.mark.skipif(sys.platform != "linux", reason="other systems report only the peak of the memory")
def test_memory_does_not_grow_with_the_number_of_frames(model):
    images = random_images(640, 480)
    memory_by_frame = {}

    def watch(rendered):
        if rendered.frame.index in (500, 3999):
            memory_by_frame[rendered.frame.index] = memory_mb()

    pipeline(model, FramesFromMemory(images, 4000)).run(watch)
    assert memory_by_frame[3999] - memory_by_frame[500] < 3  # megabytes; a leak of 1 KB for each frame would exceed it
