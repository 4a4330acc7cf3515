"""A video appears whole, checked and playable, or not at all."""

import errno
import os
import resource
import shutil
import subprocess
import sys
from contextlib import suppress

import av
import cv2
import numpy as np
import pytest

from camrt.errors import DiskFull, SinkError, UsageError
from camrt.runtime.frames import Frame, Rendered, StreamItem
from camrt.runtime.sinks import Rotation, VideoSink
from camrt.runtime.sinks.opencv_video import CODECS
from camrt.runtime.sources import open_source
from support import small_disk
from support.failing import failing
from support.needs import environment
from support.overlays import picture, rendered
from support.videos import read_video


def write(path, images, *, fps=12.5, **options):
    sink = VideoSink(path, fps=fps, **options)
    for index, image in enumerate(images):
        sink.write(rendered(index, image=image))
    sink.close()


def read_all(path):
    source = open_source(str(path))
    frames = []
    while (frame := source.read()) is not None:
        frames.append(frame)
    source.close()
    assert source.problems == []
    return source, [frame.image for frame in frames]


@pytest.fixture(params=["PyAV", "OpenCV"])
def writer(request, monkeypatch):
    """Both ways to write a video: with PyAV, and as where it is not installed."""
    if request.param == "OpenCV":
        monkeypatch.setitem(sys.modules, "av", None)
    return request.param


@pytest.mark.parametrize("suffix", CODECS)
@pytest.mark.usefixtures("writer")
def test_what_was_written_can_be_played(tmp_path, suffix):
    path = tmp_path / f"film: 猫 %d{suffix}"
    images = [picture(96, 128, shade=shade) for shade in range(0, 250, 10)]
    write(path, images)
    source, played = read_all(path)
    assert (source.fps, len(played)) == (12.5, 25)
    assert source.frame_count in (25, None)  # Matroska need not state it
    for image, frame in zip(images, played, strict=True):
        assert np.abs(image.astype(int) - frame).mean() < 8
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(("size", "even"), [((97, 128), (98, 128)), ((96, 127), (96, 128)), ((33, 35), (34, 36))])
@pytest.mark.usefixtures("writer")
def test_odd_sides_lose_nothing(tmp_path, size, even):
    write(tmp_path / "a.mp4", [picture(*size)] * 3)
    _, played = read_all(tmp_path / "a.mp4")
    assert played[0].shape == (*even, 3)
    assert np.abs(picture(*size).astype(int) - played[0][: size[0], : size[1]]).mean() < 8


@pytest.mark.parametrize("suffix", CODECS)
@pytest.mark.usefixtures("writer")
def test_a_single_frame_is_a_video_too(tmp_path, suffix):
    write(tmp_path / f"a{suffix}", [picture()])
    assert len(read_all(tmp_path / f"a{suffix}")[1]) == 1


@pytest.mark.parametrize("suffix", CODECS)
@pytest.mark.usefixtures("writer")
def test_a_single_pixel_is_a_video_too(tmp_path, suffix):
    write(tmp_path / f"a{suffix}", [np.full((1, 1, 3), 200, np.uint8)] * 3)
    _, played = read_all(tmp_path / f"a{suffix}")
    assert [frame.shape for frame in played] == [(2, 2, 3)] * 3
    assert np.abs(played[0].astype(int) - 200).max() < 8


@pytest.mark.usefixtures("writer")
def test_a_frame_of_another_size_is_fitted_between_bars(tmp_path):
    white = np.full((50, 200, 3), 255, np.uint8)
    write(tmp_path / "a.mp4", [picture(96, 128), white])
    _, played = read_all(tmp_path / "a.mp4")
    shades = played[1][:, 64].mean(axis=1)  # 200x50 in 128x96: 128x32 in the middle
    assert shades[:30].max() < 20
    assert shades[34:62].min() > 235
    assert shades[66:].max() < 20


@pytest.mark.usefixtures("writer")
def test_without_a_rate_it_is_25_frames_a_second(tmp_path):
    write(tmp_path / "a.mp4", [picture()] * 3, fps=None)
    assert read_all(tmp_path / "a.mp4")[0].fps == 25


@pytest.mark.usefixtures("writer")
def test_nothing_stands_under_the_name_before_close(tmp_path):
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
def test_an_old_file_is_replaced_only_when_allowed(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"precious")
    with pytest.raises(UsageError, match=r"exists; .*--overwrite"):
        VideoSink(path, fps=10)
    assert path.read_bytes() == b"precious"
    write(path, [picture()] * 3, overwrite=True)
    assert len(read_all(path)[1]) == 3


@pytest.mark.parametrize("name", ["a.webm", "a.txt", "a"])
def test_an_unknown_suffix_is_refused_with_those_that_are_known(tmp_path, name):
    with pytest.raises(UsageError, match=r"known are \.mp4 "):
        VideoSink(tmp_path / name, fps=10)


@pytest.mark.usefixtures("writer")
def test_a_place_where_nothing_can_be_written_is_told_at_once(tmp_path):
    with pytest.raises(SinkError, match="cannot be written: No such file or directory"):
        VideoSink(tmp_path / "nowhere" / "a.mp4", fps=10)
    with pytest.raises(SinkError, match=r"cannot be written: (Permission denied|Read-only)"):
        VideoSink(_unwritable(tmp_path), fps=10)
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        VideoSink(tmp_path / "folder.mp4", fps=10, overwrite=True)


def _unwritable(tmp_path):
    """Return a path that this user may not write, root included."""
    if os.geteuid() != 0:
        (tmp_path / "locked").mkdir(mode=0o500)
        return tmp_path / "locked" / "a.mp4"
    return type(tmp_path)("/sys/a.mp4")


NOISE = """
import sys
from pathlib import Path
import numpy as np
if sys.argv[2] == "OpenCV":
    sys.modules["av"] = None
from camrt.errors import SinkError
from camrt.runtime.sinks import VideoSink
from support.overlays import rendered
sink = VideoSink(Path(sys.argv[1]), fps=10)
try:
    for index in range(1000):
        sink.write(rendered(index, image=np.random.default_rng(index).integers(0, 255, (240, 320, 3), np.uint8)))
    sink.close()
except SinkError as error:
    print(index, error)
sink.close()
"""


def noise_within(limit, folder, *arguments):
    """Write noise in a process that may not write more than ``limit`` bytes to a file."""
    run = subprocess.run(
        [sys.executable, "-c", NOISE, *arguments],
        cwd=folder,
        env=environment(),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")
    return run.stdout


@pytest.mark.process
@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv"])
def test_a_limit_on_file_size_leaves_an_error_and_no_half_video(tmp_path, suffix):
    said = noise_within(400_000, tmp_path, f"a{suffix}", "OpenCV")
    assert "could be written, so there is no video. Is the disk full" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.process
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_with_pyav_a_limit_on_file_size_leaves_an_error_and_the_video_so_far(tmp_path, suffix):
    said = noise_within(1_000_000, tmp_path, f"a{suffix}", "PyAV")
    assert "cannot be written: the disk is full" in said or "File too large" in said
    frames, _ = read_video(tmp_path / f"a{suffix}")
    written = int(said.split()[0])
    assert written > 12
    assert written - 7 <= len(frames) <= written  # 10 a second: half a second, and the frame that ended it
    assert [path.name for path in tmp_path.iterdir()] == [f"a{suffix}"]


@pytest.mark.process
@pytest.mark.parametrize("how", ["PyAV", "OpenCV"])
def test_on_a_disk_that_fills_up_the_video_so_far_is_kept(tmp_path, how):
    script = f'"$0" -c "$1" disk/a.mp4 {how} && cp disk/a.mp4 kept.mp4 && ls -A disk'
    run = small_disk.run(["sh", "-c", script, sys.executable, NOISE], tmp_path, size="12m")
    first, listing = run.stdout.splitlines()
    assert "less than 8 MiB are left on the disk" in first
    assert len(read_all(tmp_path / "kept.mp4")[1]) == int(first.split()[0])
    assert listing == "a.mp4"


@pytest.mark.parametrize("suffix", [".mp4", ".m4v", ".mov", ".mkv"])
def test_with_pyav_it_is_what_browsers_play(tmp_path, suffix):
    write(tmp_path / f"a{suffix}", [picture(96, 128)] * 30)
    with av.open(tmp_path / f"a{suffix}") as video:
        (stream,) = video.streams
        context = stream.codec_context
        assert (context.name, context.pix_fmt, context.width, context.height) == ("h264", "yuv420p", 128, 96)
    if suffix != ".mkv":
        assert b"moof" not in _boxes(tmp_path / f"a{suffix}")  # finished, it is a usual video with one index
        assert _boxes(tmp_path / f"a{suffix}").count(b"moov") == 1


def _boxes(path):
    """Return the kinds of the boxes that an MP4 file consists of."""
    data, kinds, at = path.read_bytes(), [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        kinds.append(data[at + 4 : at + 8])
        at += int.from_bytes(data[at + 8 : at + 16], "big") if size == 1 else size
    assert at == len(data)
    return kinds


def test_a_live_video_shows_each_frame_as_long_as_it_was_live(tmp_path):
    sink = VideoSink(tmp_path / "a.mp4", fps=25, live=True)
    stamps = [1000.0, 1000.04, 1000.5, 1002.5, 1002.5, 1002.0, 9999.0, 9999.5]
    for index, stamp in enumerate(stamps):
        sink.write(Rendered(StreamItem(Frame(picture(), index, stamp, "camera 0"), None, index), picture()))
    sink.close()
    with av.open(tmp_path / "a.mp4") as video:
        times = [frame.time for frame in video.decode(video=0)]
    # A clock that stands still or is set counts as one frame's time.
    assert times == pytest.approx([0, 0.04, 0.5, 2.5, 2.54, 2.58, 2.62, 3.12], abs=1e-4)


def test_until_it_is_finished_it_can_be_played_under_its_other_name(tmp_path):
    sink = VideoSink(tmp_path / "a.mp4", fps=10)
    for index in range(30):
        sink.write(rendered(index))
    assert [path.name for path in tmp_path.iterdir()] == ["a.part.mp4"]
    shutil.copy(tmp_path / "a.part.mp4", tmp_path / "so_far.mp4")
    assert len(read_video(tmp_path / "so_far.mp4")[0]) >= 24
    sink.close()
    assert len(read_video(tmp_path / "a.mp4")[0]) == 30


def test_it_can_be_played_while_it_is_finished_too(tmp_path):
    sink = VideoSink(tmp_path / "a.mp4", fps=10)
    for index in range(30):
        sink.write(rendered(index))
    sink._video._mux(None)
    sink._video._container.close()  # the index is written, and the head not changed yet
    shutil.copy(tmp_path / "a.part.mp4", tmp_path / "so_far.mp4")
    assert len(read_video(tmp_path / "so_far.mp4")[0]) == 30
    sink._video._file.close()
    assert len(read_video(tmp_path / "a.part.mp4")[0]) == 30
    (tmp_path / "a.part.mp4").unlink()


UNFINISHED = """
import os, sys
from pathlib import Path
import numpy as np
sys.modules["av"] = None
from camrt.runtime.sinks import VideoSink
from support.overlays import rendered
sink = VideoSink(Path(sys.argv[1]), fps=10)
for index in range(30):
    sink.write(rendered(index, image=np.random.default_rng(index).integers(0, 255, (240, 320, 3), np.uint8)))
os.kill(os.getpid(), 9)
"""


@pytest.mark.process
@pytest.mark.usefixtures("writer")
@pytest.mark.parametrize("suffix", CODECS)
@pytest.mark.parametrize("own", [False, True])
def test_what_cannot_be_played_after_a_kill_is_gone_with_the_next_start(tmp_path, suffix, own):
    command = [sys.executable, "-c", UNFINISHED, f"a{suffix}"]
    subprocess.run(command, cwd=tmp_path, env=environment(), timeout=60, check=False)
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".a.")
    assert left.stat().st_size > 100_000
    if own:  # as in a container, where each start has the same number
        left.rename(tmp_path / f".a.{os.getpid()}{suffix}")
    write(tmp_path / f"a{suffix}", [picture()] * 3)
    assert [path.name for path in tmp_path.iterdir()] == [f"a{suffix}"]


def test_what_is_hidden_and_not_of_a_killed_run_stays(tmp_path):
    names = [f".a.{os.getppid()}.avi", ".a.20251124.avi", ".a.b.1.avi", ".a.1.mp4"]
    for name in names:
        (tmp_path / name).write_bytes(b"precious")
    write(tmp_path / "a.avi", [picture()] * 3)
    assert {path.name for path in tmp_path.iterdir()} == {*names, "a.avi"}


@pytest.mark.parametrize("suffix", CODECS)
def test_a_whole_video_that_has_no_name_yet_is_found_by_the_next_start(tmp_path, monkeypatch, suffix):
    monkeypatch.setitem(sys.modules, "av", None)
    sink = opened(tmp_path / f"a{suffix}", frames=30)
    with failing(monkeypatch, "replace", errno.ENOSPC), pytest.raises(SinkError, match="No space left"):
        sink.close()
    with pytest.raises(UsageError, match="exists"):
        VideoSink(tmp_path / f"a{suffix}", fps=10)
    VideoSink(tmp_path / f"a{suffix}", fps=10, rotation=Rotation(10**6, 10**9)).close()
    assert [path.name for path in tmp_path.iterdir()] == [f"a.000001{suffix}"]
    assert len(read_video(tmp_path / f"a.000001{suffix}")[0]) == 30


def test_what_a_killed_run_has_left_is_not_replaced_by_accident(tmp_path):
    (tmp_path / "a.part.mp4").write_bytes(b"precious")
    with pytest.raises(UsageError, match=r"a\.part\.mp4 exists; .*--overwrite"):
        VideoSink(tmp_path / "a.mp4", fps=10)
    assert (tmp_path / "a.part.mp4").read_bytes() == b"precious"
    (tmp_path / "a.part.mp4").write_bytes(b"")  # of a run that ended before its first frame
    write(tmp_path / "a.mp4", [picture()] * 3)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.usefixtures("writer")
def test_a_video_that_rotates_goes_on_in_files_of_its_size_and_loses_no_frame(tmp_path):
    noise = [np.random.default_rng(index).integers(0, 255, (240, 320, 3), np.uint8) for index in range(100)]
    write(tmp_path / "a.mp4", noise, rotation=Rotation(size=600_000, keep=10**9))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) > 3
    assert names == [*(f"a.{number:06d}.mp4" for number in range(1, len(names))), "a.mp4"]
    frames = [frame for name in names for frame in read_video(tmp_path / name)[0]]
    assert len(frames) == 100
    assert all((tmp_path / name).stat().st_size < 900_000 for name in names)
    # The next run goes on where this one ended.
    write(tmp_path / "a.mp4", noise[:3], rotation=Rotation(size=600_000, keep=10**9))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *(f"a.{number:06d}.mp4" for number in range(1, len(names) + 1)),
        "a.mp4",
    ]
    assert len(read_video(tmp_path / "a.mp4")[0]) == 3


@pytest.mark.usefixtures("writer")
def test_of_what_was_set_aside_so_much_is_kept(tmp_path):
    noise = [np.random.default_rng(index).integers(0, 255, (240, 320, 3), np.uint8) for index in range(100)]
    (tmp_path / "other.000001.mp4").write_bytes(b"precious")
    write(tmp_path / "a.mp4", noise, rotation=Rotation(size=400_000, keep=1_500_000))
    aside = sorted(tmp_path.glob("a.0*.mp4"))
    assert sum(path.stat().st_size for path in aside) <= 1_500_000
    assert len(aside) >= 2
    assert int(aside[0].name.split(".")[1]) > 1
    assert (tmp_path / "other.000001.mp4").read_bytes() == b"precious"


def opened(path, *, frames, **options):
    """A sink that has written frames of noise, each some 70 KB."""
    sink = VideoSink(path, fps=10, **options)
    append(sink, range(frames))
    return sink


def append(sink, indices):
    for index in indices:
        sink.write(rendered(index, image=np.random.default_rng(index).integers(0, 255, (240, 320, 3), np.uint8)))


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_second_ctrl_c_while_a_video_is_finished_does_not_cost_it(tmp_path, monkeypatch, call):
    sink = opened(tmp_path / "a.mp4", frames=30)
    with failing(monkeypatch, call, KeyboardInterrupt()), pytest.raises(KeyboardInterrupt):
        sink.close()
    sink.close()
    assert [path.name for path in tmp_path.iterdir()] == ["a.part.mp4"]
    assert len(read_video(tmp_path / "a.part.mp4")[0]) == 30


def test_a_ctrl_c_before_a_video_has_its_index_leaves_its_fragments(tmp_path, monkeypatch):
    sink = opened(tmp_path / "a.mp4", frames=30)
    monkeypatch.setattr("camrt.runtime.sinks.crash_safe_file.SYNC_S", 0.0)
    with failing(monkeypatch, "fdatasync", KeyboardInterrupt()), pytest.raises(KeyboardInterrupt):
        sink.close()
    assert [path.name for path in tmp_path.iterdir()] == ["a.part.mp4"]
    assert len(read_video(tmp_path / "a.part.mp4")[0]) >= 24


@pytest.mark.usefixtures("writer")
def test_a_video_that_cannot_get_its_name_is_kept_under_the_other(tmp_path, monkeypatch):
    sink = opened(tmp_path / "a.mp4", frames=30)
    with (
        failing(monkeypatch, "replace", errno.EACCES),
        pytest.raises(SinkError, match="Permission denied; see ") as told,
    ):
        sink.close()
    sink.close()
    (kept,) = tmp_path.iterdir()
    assert str(told.value).endswith(f"; see {kept.name}")
    assert len(read_video(kept)[0]) == 30


def test_a_disk_that_fails_while_a_video_is_finished_does_not_cost_it(tmp_path, monkeypatch):
    sink = opened(tmp_path / "a.mp4", frames=30)
    with failing(monkeypatch, "fsync", errno.EIO), pytest.raises(SinkError, match="Input/output error"):
        sink.close()
    assert [path.name for path in tmp_path.iterdir()] == ["a.part.mp4"]
    assert len(read_video(tmp_path / "a.part.mp4")[0]) == 30


def test_a_video_that_cannot_be_set_aside_for_want_of_room_is_when_there_is_some(tmp_path, monkeypatch, writer):
    sink = opened(tmp_path / "a.mp4", frames=1, rotation=Rotation(size=1_000_000, keep=10**9))
    (part,) = tmp_path.iterdir()
    written = 1
    for call in ("fsync", "rename", "rename") if writer == "PyAV" else ("rename", "rename"):
        with failing(monkeypatch, call, errno.ENOSPC), suppress(DiskFull):
            while True:
                append(sink, [written])
                written += 1
        assert list(tmp_path.iterdir()) == [part]
    append(sink, [written])
    sink.close()
    older, newer = sorted(tmp_path.iterdir())
    assert (older.name, newer.name) == ("a.000001.mp4", "a.mp4")
    assert [len(read_video(path)[0]) for path in (older, newer)] == [written, 1]


@pytest.mark.usefixtures("writer")
def test_a_video_that_can_never_be_set_aside_gets_its_name_in_the_end(tmp_path, monkeypatch):
    sink = opened(tmp_path / "a.mp4", frames=1, rotation=Rotation(size=1_000_000, keep=10**9))
    with failing(monkeypatch, "rename", errno.EACCES), pytest.raises(SinkError, match="Permission denied"):
        append(sink, range(1, 100))
    sink.close()
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    assert len(read_video(tmp_path / "a.mp4")[0]) > 10


def test_a_live_video_goes_on_in_a_new_file_after_an_hour(tmp_path):
    sink = VideoSink(tmp_path / "a.mp4", fps=25, live=True)
    for index in range(130):  # a frame each half minute
        sink.write(Rendered(StreamItem(Frame(picture(), index, 30.0 * index, "camera 0"), None, index), picture()))
    sink.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.000001.mp4", "a.mp4"]
    lengths = [len(read_video(tmp_path / name)[0]) for name in ("a.000001.mp4", "a.mp4")]
    assert lengths == [121, 9]


def test_a_real_video_goes_through_frame_by_frame(tmp_path, shared_data):
    shutil.copy(shared_data / "videos" / "cockatoo.mp4", tmp_path / "in.mp4")
    source = open_source(str(tmp_path / "in.mp4"))
    sink = VideoSink(tmp_path / "out.mp4", fps=source.fps)
    while (frame := source.read()) is not None and frame.index < 60:
        sink.write(rendered(frame.index, image=frame.image))
    sink.close()
    source.close()
    copy, played = read_all(tmp_path / "out.mp4")
    assert (copy.fps, len(played)) == (20.0, 60)
    original = cv2.VideoCapture(str(tmp_path / "in.mp4"))
    assert np.abs(original.read()[1].astype(int) - played[0]).mean() < 6
