"""The synthetic camera: a live source drops frames of a slow reader, another one returns every frame."""

import threading
import time

import numpy as np
import pytest

from camrt.runtime.sources.synthetic import SyntheticSource
from camrt.synthetic_scene import FPS, Scene

SIZE = (160, 120)


@pytest.fixture
def scene():
    return Scene(7, *SIZE)


def test_a_source_that_is_not_live_returns_every_frame(scene):
    source = SyntheticSource(scene, frames=5, live=False)
    frames = list(iter(source.read, None))
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    assert [frame.time_s for frame in frames] == [number / FPS for number in range(5)]
    assert np.array_equal(frames[3].image, scene.view(3).image)
    assert source.frame_count == 5
    assert source.read() is None


def test_a_live_source_drops_frames_of_a_slow_reader(scene):
    source = SyntheticSource(scene)
    first = source.read()
    time.sleep(0.2)
    second = source.read()
    assert first.index == 0
    assert second.index >= 5  # about five of 30 frames per second were missed
    assert np.array_equal(second.image, scene.view(second.index).image)


def test_a_live_source_stops_at_its_frame_count(scene):
    source = SyntheticSource(scene, frames=3)
    assert source.read().index == 0
    time.sleep(0.3)
    assert source.read() is None


def test_close_ends_a_waiting_read(scene):
    source = SyntheticSource(scene)
    source.read()
    closer = threading.Timer(0.1, source.close)
    closer.start()
    while source.read() is not None:  # the next frame is due after 33 ms
        pass
    closer.join()
    assert source.read() is None
