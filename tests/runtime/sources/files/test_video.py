"""A video file gives every frame in order and upright; missing frames are reported."""

import math
import struct
import threading

import cv2
import numpy as np
import pytest

from camrt.errors import SourceError
from camrt.runtime.sources import open_source
from camrt.video_decoding.capture import fps_of, frame_count_of, shortfall
from support.overlays import gradient_image


def write_video(path, frames, *, fps=10):
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), fps, (width, height))
    for frame in frames:
        writer.write(frame)
    writer.release()
    return path


def read_all(source):
    frames = []
    while (frame := source.read()) is not None:
        frames.append(frame)
    source.close()
    return frames


@pytest.mark.parametrize(("name", "count", "fps"), [("cockatoo.mp4", 280, 20.0), ("bottle-detection.mp4", 1189, 29.83)])
@pytest.mark.usefixtures("decoder")
def test_every_frame_of_a_real_video_is_read_in_order(shared_data, name, count, fps):
    source = open_source(str(shared_data / "videos" / name))
    assert (source.live, source.frame_count) == (False, count)
    assert source.fps == pytest.approx(fps, abs=0.01)
    times = []
    for index in range(count):
        frame = source.read()
        assert frame.index == index
        times.append(frame.time_s)
    assert source.read() is None
    assert times == pytest.approx([index / source.fps for index in range(count)], abs=0.5 / source.fps)
    assert source.problems == []
    source.close()


@pytest.mark.usefixtures("decoder")
def test_frames_come_in_the_order_they_were_written(tmp_path):
    path = write_video(tmp_path / "a.mp4", [gradient_image(shade=shade) for shade in range(0, 250, 10)])
    shades = [frame.image[..., 1].mean() for frame in read_all(open_source(str(path)))]
    assert shades == pytest.approx(range(0, 250, 10), abs=4)


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.95])
@pytest.mark.usefixtures("decoder")
def test_a_truncated_video_gives_its_frames_and_reports_the_missing_ones(shared_data, tmp_path, kept):
    data = (shared_data / "videos" / "oc_dog.mp4").read_bytes()  # its index is at the start
    (tmp_path / "cut.mp4").write_bytes(data[: int(len(data) * kept)])
    source = open_source(str(tmp_path / "cut.mp4"))
    frames = read_all(source)
    assert 0 < len(frames) < 336
    assert source.problems[-1] == f"{source.name} stops after frame {len(frames)} of 336: truncated or damaged?"


@pytest.mark.parametrize(
    ("data", "message"), [(b"", "is empty"), (b"hello\n" * 500, "is a text file"), (None, "truncated")]
)
@pytest.mark.usefixtures("decoder")
def test_a_file_without_a_readable_index_is_an_error(shared_data, tmp_path, data, message):
    if data is None:
        whole = (shared_data / "videos" / "cockatoo.mp4").read_bytes()  # its index is at the end
        data = whole[: len(whole) // 2]
    (tmp_path / "bad.mp4").write_bytes(data)
    with pytest.raises(SourceError, match=rf"bad\.mp4 .*{message}"):
        open_source(str(tmp_path / "bad.mp4"))


@pytest.mark.usefixtures("decoder")
def test_a_damaged_place_is_skipped_and_reported(shared_data, tmp_path):
    data = bytearray((shared_data / "videos" / "oc_dog.mp4").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 60_000] = np.random.default_rng(0).bytes(60_000)
    (tmp_path / "damaged.mp4").write_bytes(data)
    source = open_source(str(tmp_path / "damaged.mp4"))
    frames = read_all(source)
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert frames[-1].time_s > 11  # to the end: the video takes 11.2 s
    assert len(source.problems) == 1
    assert f"{336 - len(frames)} damaged frames after 5.4" in source.problems[0]


@pytest.mark.usefixtures("decoder")
def test_a_video_with_a_rotation_is_turned_upright(tmp_path):
    path = write_video(tmp_path / "a.mp4", [gradient_image(48, 96)] * 5)
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40  # the track header's transformation, in 16.16 and 2.30 fixed point
    assert data[matrix : matrix + 36] == struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    data[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 48 << 16, 0, 1 << 30)
    path.write_bytes(data)
    turned = open_source(str(path)).read().image
    assert turned.shape == (96, 48, 3)
    expected = cv2.rotate(gradient_image(48, 96), cv2.ROTATE_90_CLOCKWISE)
    np.testing.assert_allclose(turned.astype(int), expected.astype(int), atol=25)


def test_without_pyav_frames_of_another_size_are_scaled_to_the_first(tmp_path, without_pyav):
    without_pyav()
    sizes = [(48, 64)] * 3 + [(96, 64)] * 3
    jpegs = [cv2.imencode(".jpg", gradient_image(*size))[1].tobytes() for size in sizes]
    (tmp_path / "a.mjpeg").write_bytes(b"".join(jpegs))
    source = open_source(str(tmp_path / "a.mjpeg"))
    assert source.frame_count is None
    assert [frame.image.shape for frame in read_all(source)] == [(48, 64, 3)] * 6
    assert source.problems == []


@pytest.mark.usefixtures("decoder")
def test_a_file_name_may_have_colons_and_percent_signs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "a.mp4", [gradient_image()] * 3).rename("concat:猫 %03d.mp4")
    assert len(read_all(open_source("concat:猫 %03d.mp4"))) == 3


@pytest.mark.usefixtures("decoder")
def test_close_from_another_thread_during_a_read_is_safe(shared_data):
    for delay_s in (0.0, 0.003, 0.01, 0.03):
        source = open_source(str(shared_data / "videos" / "cockatoo.mp4"))
        reader = threading.Thread(target=read_all, args=(source,))
        reader.start()
        threading.Event().wait(delay_s)
        source.close()
        reader.join(10)
        assert not reader.is_alive()
        assert source.read() is None


class Header:
    """A capture that has properties only."""

    def __init__(self, value):
        self._value = value

    def get(self, _):
        return self._value


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf, 90000.0, -9.2e18])
def test_an_impossible_frame_rate_is_none(value):
    assert fps_of(Header(value)) is None


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf, -3074457345618259.0])
def test_an_impossible_frame_count_is_none(value):
    assert frame_count_of(Header(value)) is None


@pytest.mark.parametrize(
    ("frames", "last_s", "expected", "fps", "reported"),
    [
        (336, 11.2, 336, 30, False),
        (330, 11.0, 336, 30, False),  # an estimated count
        (120, 4.0, 336, 30, True),
        (120, 11.1, 336, 30, False),  # a varying rate: fewer frames, but to the end
        (0, 0.0, 2, 30, False),
        (0, 0.0, 10, None, True),
        (120, 4.0, None, 30, False),
    ],
)
def test_shortfall_tells_an_early_end_from_an_inexact_estimate(frames, last_s, expected, fps, reported):
    assert (shortfall("a.mp4", frames, last_s, expected, fps) is not None) == reported
