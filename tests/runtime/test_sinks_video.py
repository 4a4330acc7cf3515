"""A video appears whole, checked and playable, or not at all."""

import os
import resource
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest

from camrt.errors import SinkError, UsageError
from camrt.runtime.sinks import VideoSink
from camrt.runtime.sinks.opencv_video import CODECS
from camrt.runtime.sources import open_source
from support.needs import environment
from support.overlays import picture, rendered


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


@pytest.mark.parametrize("suffix", CODECS)
def test_what_was_written_can_be_played(tmp_path, suffix):
    path = tmp_path / f"film: 猫 %d{suffix}"
    images = [picture(96, 128, shade=shade) for shade in range(0, 250, 10)]
    write(path, images)
    source, played = read_all(path)
    assert (source.fps, source.frame_count, len(played)) == (12.5, 25, 25)
    for image, frame in zip(images, played, strict=True):
        assert np.abs(image.astype(int) - frame).mean() < 8
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(("size", "even"), [((97, 128), (98, 128)), ((96, 127), (96, 128)), ((33, 35), (34, 36))])
def test_odd_sides_lose_nothing(tmp_path, size, even):
    write(tmp_path / "a.mp4", [picture(*size)] * 3)
    _, played = read_all(tmp_path / "a.mp4")
    assert played[0].shape == (*even, 3)
    assert np.abs(picture(*size).astype(int) - played[0][: size[0], : size[1]]).mean() < 8


@pytest.mark.parametrize("suffix", CODECS)
def test_a_single_pixel_is_a_video_too(tmp_path, suffix):
    write(tmp_path / f"a{suffix}", [np.full((1, 1, 3), 200, np.uint8)] * 3)
    _, played = read_all(tmp_path / f"a{suffix}")
    assert [frame.shape for frame in played] == [(2, 2, 3)] * 3
    assert np.abs(played[0].astype(int) - 200).max() < 8


def test_a_frame_of_another_size_is_fitted_between_bars(tmp_path):
    white = np.full((50, 200, 3), 255, np.uint8)
    write(tmp_path / "a.mp4", [picture(96, 128), white])
    _, played = read_all(tmp_path / "a.mp4")
    shades = played[1][:, 64].mean(axis=1)  # 200x50 in 128x96: 128x32 in the middle
    assert shades[:30].max() < 20
    assert shades[34:62].min() > 235
    assert shades[66:].max() < 20


def test_without_a_rate_it_is_25_frames_a_second(tmp_path):
    write(tmp_path / "a.mp4", [picture()] * 3, fps=None)
    assert read_all(tmp_path / "a.mp4")[0].fps == 25


def test_nothing_stands_under_the_name_before_close(tmp_path):
    sink = VideoSink(tmp_path / "a.mp4", fps=10)
    sink.write(rendered())
    assert not (tmp_path / "a.mp4").exists()
    sink.close()
    sink.close()
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.mp4"]


def test_without_a_frame_there_is_no_file(tmp_path):
    VideoSink(tmp_path / "a.mp4", fps=10).close()
    assert list(tmp_path.iterdir()) == []


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


def test_a_place_where_nothing_can_be_written_is_told_at_once(tmp_path):
    with pytest.raises(SinkError, match="cannot be written: No such file or directory"):
        VideoSink(tmp_path / "nowhere" / "a.mp4", fps=10)
    with pytest.raises(SinkError, match=r"cannot be written: (Permission denied|Read-only)"):
        VideoSink(_unwritable(tmp_path), fps=10)
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(SinkError, match="is a folder"):
        VideoSink(tmp_path / "folder.mp4", fps=10, overwrite=True)


def _unwritable(tmp_path):
    """Return a path that this user may not write, root included."""
    if os.geteuid() != 0:
        (tmp_path / "locked").mkdir(mode=0o500)
        return tmp_path / "locked" / "a.mp4"
    return type(tmp_path)("/sys/a.mp4")


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv"])
def test_a_limit_on_file_size_leaves_an_error_and_no_half_video(tmp_path, suffix):
    script = f"""
import numpy as np
from pathlib import Path
from camrt.errors import SinkError
from camrt.runtime.sinks import VideoSink
from support.overlays import rendered
sink = VideoSink(Path("a{suffix}"), fps=10)
for index in range(60):
    sink.write(rendered(index, image=np.random.default_rng(index).integers(0, 255, (240, 320, 3), np.uint8)))
try:
    sink.close()
except SinkError as error:
    print(error)
"""
    run = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment(),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert "could be written, so there is no video. Is the disk full" in run.stdout
    assert list(tmp_path.iterdir()) == []


def test_on_a_disk_that_fills_up_the_video_so_far_is_kept(tmp_path):
    script = """
import sys
from pathlib import Path
import numpy as np
from camrt.errors import SinkError
from camrt.runtime.sinks import VideoSink
from support.overlays import rendered
sink = VideoSink(Path(sys.argv[1]) / "a.mp4", fps=10)
try:
    for index in range(1000):
        sink.write(rendered(index, image=np.random.default_rng(index).integers(0, 255, (240, 320, 3), np.uint8)))
except SinkError as error:
    print(index, error)
sink.close()
"""
    (tmp_path / "disk").mkdir()
    mount = 'mount -t tmpfs -o size=12m tmpfs disk && "$0" -c "$1" disk && cp disk/a.mp4 kept.mp4 && ls -A disk'
    namespace = ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, sys.executable, script]
    run = subprocess.run(
        namespace, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60, check=False
    )
    if "mount" in run.stderr or "unshare" in run.stderr:
        pytest.skip(f"no small disk can be made here: {run.stderr.strip()}")
    first, listing = run.stdout.splitlines()
    assert "less than 8 MiB are left on the disk" in first
    assert len(read_all(tmp_path / "kept.mp4")[1]) == int(first.split()[0])
    assert listing == "a.mp4"


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
