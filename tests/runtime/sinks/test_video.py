"""Videos: content, size, rate, codec, names and rotation."""

import os
import shutil

import av
import cv2
import numpy as np
import pytest

from camrt.errors import SinkError, UsageError
from camrt.runtime.frames import Frame, Rendered, StreamItem
from camrt.runtime.sinks import Rotation, VideoSink
from camrt.runtime.sinks.opencv_video import CODECS
from camrt.runtime.sources import open_source
from support.overlays import gradient_image, rendered
from support.video_sinks import noise, read_source, write_images
from support.videos import read_video


@pytest.mark.parametrize("suffix", CODECS)
@pytest.mark.usefixtures("writer")
def test_a_finished_video_can_be_played(tmp_path, suffix):
    path = tmp_path / f"film: 猫 %d{suffix}"
    images = [gradient_image(96, 128, shade=shade) for shade in range(0, 250, 10)]
    write_images(path, images)
    source, played = read_source(path)
    assert (source.fps, len(played)) == (12.5, 25)
    assert source.frame_count in (25, None)  # Matroska may not state it
    for image, frame in zip(images, played, strict=True):
        assert np.abs(image.astype(int) - frame).mean() < 8
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(("size", "even"), [((97, 128), (98, 128)), ((96, 127), (96, 128)), ((33, 35), (34, 36))])
@pytest.mark.usefixtures("writer")
def test_odd_sides_lose_no_pixel(tmp_path, size, even):
    write_images(tmp_path / "a.mp4", [gradient_image(*size)] * 3)
    _, played = read_source(tmp_path / "a.mp4")
    assert played[0].shape == (*even, 3)
    assert np.abs(gradient_image(*size).astype(int) - played[0][: size[0], : size[1]]).mean() < 8


@pytest.mark.parametrize("suffix", CODECS)
@pytest.mark.usefixtures("writer")
def test_a_single_frame_is_a_video(tmp_path, suffix):
    write_images(tmp_path / f"a{suffix}", [gradient_image()])
    assert len(read_source(tmp_path / f"a{suffix}")[1]) == 1


@pytest.mark.parametrize("suffix", CODECS)
@pytest.mark.usefixtures("writer")
def test_a_single_pixel_is_a_video(tmp_path, suffix):
    write_images(tmp_path / f"a{suffix}", [np.full((1, 1, 3), 200, np.uint8)] * 3)
    _, played = read_source(tmp_path / f"a{suffix}")
    assert [frame.shape for frame in played] == [(2, 2, 3)] * 3
    assert np.abs(played[0].astype(int) - 200).max() < 8


@pytest.mark.usefixtures("writer")
def test_a_frame_of_another_size_is_letterboxed(tmp_path):
    white = np.full((50, 200, 3), 255, np.uint8)
    write_images(tmp_path / "a.mp4", [gradient_image(96, 128), white])
    _, played = read_source(tmp_path / "a.mp4")
    shades = played[1][:, 64].mean(axis=1)  # 200x50 in 128x96: 128x32 in the middle
    assert shades[:30].max() < 20
    assert shades[34:62].min() > 235
    assert shades[66:].max() < 20


@pytest.mark.usefixtures("writer")
def test_the_default_rate_is_25_frames_per_second(tmp_path):
    write_images(tmp_path / "a.mp4", [gradient_image()] * 3, fps=None)
    assert read_source(tmp_path / "a.mp4")[0].fps == 25


@pytest.mark.usefixtures("writer")
def test_the_video_gets_its_name_in_close(tmp_path):
    sink = VideoSink(tmp_path / "a.mp4", fps=10)
    sink.write(rendered())
    assert not (tmp_path / "a.mp4").exists()
    sink.close()
    sink.close()
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.usefixtures("writer")
def test_without_a_frame_there_is_no_file(tmp_path):
    VideoSink(tmp_path / "a.mp4", fps=10).close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("writer")
def test_an_existing_file_is_replaced_only_with_overwrite(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"precious")
    with pytest.raises(UsageError, match=r"exists; .*--overwrite"):
        VideoSink(path, fps=10)
    assert path.read_bytes() == b"precious"
    write_images(path, [gradient_image()] * 3, overwrite=True)
    assert len(read_source(path)[1]) == 3


@pytest.mark.parametrize("name", ["a.webm", "a.txt", "a"])
def test_an_unknown_suffix_is_an_error_that_lists_the_known_ones(tmp_path, name):
    with pytest.raises(UsageError, match=r"use one of \.mp4 "):
        VideoSink(tmp_path / name, fps=10)


@pytest.mark.usefixtures("writer")
def test_an_unwritable_path_is_an_error_at_once(tmp_path):
    with pytest.raises(SinkError, match="cannot be written: No such file or directory"):
        VideoSink(tmp_path / "nowhere" / "a.mp4", fps=10)
    with pytest.raises(SinkError, match=r"cannot be written: (Permission denied|Read-only)"):
        VideoSink(_unwritable(tmp_path), fps=10)
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        VideoSink(tmp_path / "folder.mp4", fps=10, overwrite=True)


def _unwritable(tmp_path):
    """Return a path that no user can write, not even root."""
    if os.geteuid() != 0:
        (tmp_path / "locked").mkdir(mode=0o500)
        return tmp_path / "locked" / "a.mp4"
    return type(tmp_path)("/sys/a.mp4")


@pytest.mark.parametrize("suffix", [".mp4", ".m4v", ".mov", ".mkv"])
def test_with_pyav_the_video_is_h264_with_one_index(tmp_path, suffix):
    write_images(tmp_path / f"a{suffix}", [gradient_image(96, 128)] * 30)
    with av.open(tmp_path / f"a{suffix}") as video:
        (stream,) = video.streams
        context = stream.codec_context
        assert (context.name, context.pix_fmt, context.width, context.height) == ("h264", "yuv420p", 128, 96)
    if suffix != ".mkv":
        assert b"moof" not in _boxes(tmp_path / f"a{suffix}")  # a finished video has no fragments, but one index
        assert _boxes(tmp_path / f"a{suffix}").count(b"moov") == 1


def _boxes(path):
    """Return the types of the boxes of an MP4 file."""
    data, kinds, at = path.read_bytes(), [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        kinds.append(data[at + 4 : at + 8])
        at += int.from_bytes(data[at + 8 : at + 16], "big") if size == 1 else size
    assert at == len(data)
    return kinds


def test_a_live_video_shows_each_frame_for_as_long_as_it_was_live(tmp_path):
    sink = VideoSink(tmp_path / "a.mp4", fps=25, live=True)
    stamps = [1000.0, 1000.04, 1000.5, 1002.5, 1002.5, 1002.0, 9999.0, 9999.5]
    for index, stamp in enumerate(stamps):
        sink.write(
            Rendered(StreamItem(Frame(gradient_image(), index, stamp, "camera 0"), None, index), gradient_image())
        )
    sink.close()
    with av.open(tmp_path / "a.mp4") as video:
        times = [frame.time for frame in video.decode(video=0)]
    # If the clock stands still or is set, the frame lasts for one frame time.
    assert times == pytest.approx([0, 0.04, 0.5, 2.5, 2.54, 2.58, 2.62, 3.12], abs=1e-4)


@pytest.mark.usefixtures("writer")
def test_rotation_loses_no_frame_and_keeps_the_size(tmp_path):
    images = [noise(index) for index in range(100)]
    write_images(tmp_path / "a.mp4", images, rotation=Rotation(size=600_000, keep=10**9))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) > 3
    assert names == [*(f"a.{number:06d}.mp4" for number in range(1, len(names))), "a.mp4"]
    frames = [frame for name in names for frame in read_video(tmp_path / name)[0]]
    assert len(frames) == 100
    assert all((tmp_path / name).stat().st_size < 900_000 for name in names)
    # The next run continues the numbers of this one.
    write_images(tmp_path / "a.mp4", images[:3], rotation=Rotation(size=600_000, keep=10**9))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *(f"a.{number:06d}.mp4" for number in range(1, len(names) + 1)),
        "a.mp4",
    ]
    assert len(read_video(tmp_path / "a.mp4")[0]) == 3


@pytest.mark.usefixtures("writer")
def test_rotation_removes_the_oldest_files_beyond_keep(tmp_path):
    images = [noise(index) for index in range(100)]
    (tmp_path / "other.000001.mp4").write_bytes(b"precious")
    write_images(tmp_path / "a.mp4", images, rotation=Rotation(size=400_000, keep=1_500_000))
    numbered = sorted(tmp_path.glob("a.0*.mp4"))
    assert sum(path.stat().st_size for path in numbered) <= 1_500_000
    assert len(numbered) >= 2
    assert int(numbered[0].name.split(".")[1]) > 1
    assert (tmp_path / "other.000001.mp4").read_bytes() == b"precious"


def test_a_live_video_continues_in_a_new_file_after_an_hour(tmp_path):
    sink = VideoSink(tmp_path / "a.mp4", fps=25, live=True)
    for index in range(130):  # a frame each half minute
        sink.write(
            Rendered(
                StreamItem(Frame(gradient_image(), index, 30.0 * index, "camera 0"), None, index), gradient_image()
            )
        )
    sink.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.000001.mp4", "a.mp4"]
    lengths = [len(read_video(tmp_path / name)[0]) for name in ("a.000001.mp4", "a.mp4")]
    assert lengths == [121, 9]


def test_a_real_video_is_copied_frame_by_frame(tmp_path, shared_data):
    shutil.copy(shared_data / "videos" / "cockatoo.mp4", tmp_path / "in.mp4")
    source = open_source(str(tmp_path / "in.mp4"))
    sink = VideoSink(tmp_path / "out.mp4", fps=source.fps)
    while (frame := source.read()) is not None and frame.index < 60:
        sink.write(rendered(frame.index, image=frame.image))
    sink.close()
    source.close()
    copy, played = read_source(tmp_path / "out.mp4")
    assert (copy.fps, len(played)) == (20.0, 60)
    original = cv2.VideoCapture(str(tmp_path / "in.mp4"))
    assert np.abs(original.read()[1].astype(int) - played[0]).mean() < 6


def test_name_that_is_not_utf8_is_written_or_refused(tmp_path, writer):
    """OpenCV would end the process."""
    path = tmp_path / "caf\udce9.mp4"
    if writer == "OpenCV":
        with pytest.raises(SinkError, match="writes no video to a path that is not UTF-8; choose another name"):
            VideoSink(path, fps=10)
        assert list(tmp_path.iterdir()) == []
        return
    write_images(path, [gradient_image()] * 3)
    assert len(read_source(path)[1]) == 3
