"""A live stream of segments plays evenly, and a new connection shows no frame twice."""

import threading
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest

from camrt.runtime.sources import open_source
from camrt.runtime.sources.live.capture_thread import CaptureThread
from camrt.runtime.sources.live.reconnecting import ReconnectingSource
from camrt.runtime.sources.network.address import NetworkAddress
from camrt.runtime.sources.network.segments import Pace, ShownFrames
from support import hls_camera
from support.hls_camera import FPS, number_of

STEP = 1 / 25


def waits(times, now_s=100.0):
    """Return the time at which each frame is shown, if frames arrive at once."""
    pace, shown = Pace(), []
    for time_s in times:
        now_s += pace.wait_s(time_s, now_s)
        shown.append(now_s)
    return shown


def test_a_burst_of_frames_is_spread_by_its_presentation_times():
    assert np.allclose(np.diff(waits([0, 1, 1.5, 4])), [1, 0.5, 2.5])


def test_a_late_segment_shifts_the_frames_behind_it():
    pace = Pace()
    assert [pace.wait_s(0.0, 100.0), pace.wait_s(1.0, 100.0)] == [0, 1]
    assert pace.wait_s(2.0, 105.0) == 0  # four seconds late
    assert pace.wait_s(2.04, 105.0) == pytest.approx(0.04)


@pytest.mark.parametrize("times", [[50, 0, STEP], [0, 1000, 1000 + STEP]])
def test_a_cut_of_the_presentation_times_is_no_wait(times):
    first, second, third = waits(times)
    assert second == first
    assert third - second == pytest.approx(STEP)


def test_frames_of_a_new_connection_are_new_after_the_last_one_that_was_shown():
    frames = [np.full((16, 16, 3), grey, np.uint8) for grey in range(12)]
    shown = ShownFrames()

    def show(numbers):
        connection = shown.new_connection()
        return [number for number in numbers if not connection.was_shown(frames[number])]

    assert show([0, 1, 2, 2, 3]) == [0, 1, 2, 2, 3]  # within a connection a picture may stand still
    assert show([11, 1, 2, 2, 3, 4, 4, 2]) == [11, 4, 4, 2]
    assert show([5, 6]) == [5, 6]


def read_numbers(source, count):
    """Read frames with a signal; returns their indices and the numbers that they show."""
    frames = []
    while len(frames) < count:
        frame = source.read()
        if not frame.lost:
            frames.append((frame.index, number_of(frame.image)))
    return zip(*frames, strict=True)


@pytest.mark.input_kind("camera or stream", "live HLS", "the numbers in the frames", "each frame once, none dropped")
@pytest.mark.parametrize("options", [{}, {"hls_segment_type": "fmp4"}], ids=["MPEG-TS", "MP4"])
def test_a_live_stream_loses_no_frame_and_waits_for_none(tmp_path, options, decoder):
    """Segments arrive at once. Without pacing, the newest frame of each would be the only one that is shown."""
    with hls_camera.serving(tmp_path, **options) as camera:
        source = open_source(camera.address)
        assert source.live
        indices, numbers = read_numbers(source, 5 * FPS)
        source.close()
    assert source.losses == 0
    assert indices == tuple(range(5 * FPS))
    assert set(np.diff(numbers) % 256) == {1}


@contextmanager
def impatient(url):
    """A source with a short time-out."""
    address = NetworkAddress(url, open_timeout_s=5.0, read_timeout_s=1.0, segments_timeout_s=1.0, every_s=1.0)
    begin = partial(CaptureThread, url, address.open, open_timeout_s=5.0, read_timeout_s=1.0)
    source = ReconnectingSource(begin, begin(), lambda line: None)
    yield source
    source.close()


@pytest.mark.slow
def test_a_new_connection_repeats_no_segment(tmp_path, decoder):
    with hls_camera.serving(tmp_path) as camera, impatient(camera.address) as source:
        _, before = read_numbers(source, 2 * FPS)
        camera.held.set()
        frame = source.read()
        while not frame.lost:
            before = (*before, number_of(frame.image))
            frame = source.read()
        camera.held.clear()
        _, after = read_numbers(source, 3 * FPS)
    assert source.losses >= 1
    steps = np.diff([*before, *after]) % 256
    assert (steps > 0).all()
    assert (steps < 128).all()


def test_a_stream_that_has_ended_is_a_file(tmp_path):
    with hls_camera.serving(tmp_path):
        pass  # the writer ends its playlist
    with hls_camera.files(tmp_path) as server:
        source = open_source(f"http://127.0.0.1:{server.server_port}/live.m3u8")
        frames = []
        while (frame := source.read()) is not None:
            frames.append(number_of(frame.image))
    assert not source.live
    assert set(np.diff(frames)) == {1}


@pytest.mark.slow
def test_a_gap_between_two_segments_is_no_loss(tmp_path):
    with hls_camera.serving(tmp_path) as camera:
        source = open_source(camera.address)
        read_numbers(source, FPS)
        camera.held.set()
        releasing = threading.Timer(9.0, camera.held.clear)  # the segments that are known last for three seconds
        releasing.start()
        read_numbers(source, 4 * FPS)
        source.close()
        releasing.join()
    assert source.losses == 0
