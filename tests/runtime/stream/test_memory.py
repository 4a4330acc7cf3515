"""Memory of a long stream: no allocation of a frame's size for each frame, and no growth."""

import json
import subprocess
import sys
import tracemalloc

import pytest

from camrt.benchmarks.bench import FramesFromMemory, random_images
from camrt.runtime.render.display_settings import DisplaySettings, SettingsStore
from camrt.runtime.render.renderer import Renderer
from camrt.runtime.stream.pipeline import Pipeline

WARM = 20
LONG_STREAM = """
import json, sys

import camrt
from camrt.benchmarks.bench import FramesFromMemory, memory_mb, pipeline, random_images

memory_by_frame = {}


def watch(rendered):
    if rendered.frame.index in (500, 3999):
        memory_by_frame[rendered.frame.index] = memory_mb()


pipeline(camrt.load(sys.argv[1], "cpu"), FramesFromMemory(random_images(640, 480), 4000)).run(watch)
print(json.dumps(memory_by_frame))
"""


@pytest.mark.parametrize(
    "settings",
    [
        DisplaySettings(),
        DisplaySettings.defaults(live=True),
        DisplaySettings(boxes=True, smooth=0.2),
        DisplaySettings(boxes=True, refine="clamp,pc1,ivr"),
    ],
    ids=["plain", "live", "boxes", "refined boxes"],
)
def test_a_frame_allocates_no_array_of_its_size(model, settings):
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
        renderer = Renderer(hud=False, provider=model.provider, threads=1)
        source = FramesFromMemory(images, 3 * WARM)
        Pipeline(model, source, SettingsStore(settings), renderer=renderer).run(watch)
    finally:
        tracemalloc.stop()
    assert len(peaks) == 2 * WARM - 1
    assert max(peaks) < images[0].nbytes / 4


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="other systems report only the peak of the memory")
def test_memory_does_not_grow_with_the_number_of_frames(model):
    # The memory of this process would include what earlier tests left behind.
    command = [sys.executable, "-c", LONG_STREAM, str(model.path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    memory_by_frame = json.loads(ended.stdout)
    assert memory_by_frame["3999"] - memory_by_frame["500"] < 3  # megabytes; a leak of 1 KB a frame would exceed it
