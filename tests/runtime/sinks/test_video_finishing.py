"""Videos that are finished, killed, interrupted, or stopped by a full or failing disk."""

import errno
import os
import resource
import shutil
import subprocess
import sys
from contextlib import suppress

import pytest

from camrt.errors import DiskFull, SinkError, UsageError
from camrt.runtime.sinks import Rotation, VideoSink
from camrt.runtime.sinks.opencv_video import CODECS
from support import small_disk
from support.failing import failing
from support.needs import environment
from support.overlays import gradient_image, rendered
from support.video_sinks import append_noise, noise_video, read_source, write_images
from support.videos import read_video

NOISE = """
import sys
from pathlib import Path
if sys.argv[2] == "OpenCV":
    sys.modules["av"] = None
from camrt.errors import SinkError
from camrt.runtime.sinks import VideoSink
from support.video_sinks import append_noise
sink = VideoSink(Path(sys.argv[1]), fps=10)
try:
    for index in range(1000):
        append_noise(sink, [index])
    sink.close()
except SinkError as error:
    print(index, error)
sink.close()
"""


def write_noise(limit, folder, *arguments):
    """Write noise in a process that may not write more than ``limit`` bytes to a file, and return its output."""
    done = subprocess.run(
        [sys.executable, "-c", NOISE, *arguments],
        cwd=folder,
        env=environment(),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_an_unfinished_video_can_be_played_under_its_temporary_name(tmp_path):
    sink = VideoSink(tmp_path / "a.mp4", fps=10)
    for index in range(30):
        sink.write(rendered(index))
    assert [path.name for path in tmp_path.iterdir()] == ["a.part.mp4"]
    shutil.copy(tmp_path / "a.part.mp4", tmp_path / "so_far.mp4")
    assert len(read_video(tmp_path / "so_far.mp4")[0]) >= 24
    sink.close()
    assert len(read_video(tmp_path / "a.mp4")[0]) == 30


def test_a_video_can_be_played_while_it_is_being_finished(tmp_path):
    sink = VideoSink(tmp_path / "a.mp4", fps=10)
    for index in range(30):
        sink.write(rendered(index))
    sink._video._flush()
    sink._video._container.close()  # the index is written, and the head not changed yet
    shutil.copy(tmp_path / "a.part.mp4", tmp_path / "so_far.mp4")
    assert len(read_video(tmp_path / "so_far.mp4")[0]) == 30
    sink._video._file.close()
    assert len(read_video(tmp_path / "a.part.mp4")[0]) == 30
    (tmp_path / "a.part.mp4").unlink()


UNFINISHED = """
import os, sys
from pathlib import Path
sys.modules["av"] = None
from support.video_sinks import noise_video
sink = noise_video(Path(sys.argv[1]), frames=30)
os.kill(os.getpid(), 9)
"""


@pytest.mark.process
@pytest.mark.usefixtures("writer")
@pytest.mark.parametrize("suffix", CODECS)
@pytest.mark.parametrize("own_pid", [False, True])
def test_the_next_start_removes_an_unplayable_video_of_a_killed_run(tmp_path, suffix, own_pid):
    command = [sys.executable, "-c", UNFINISHED, f"a{suffix}"]
    subprocess.run(command, cwd=tmp_path, env=environment(), timeout=60, check=False)
    (video,) = tmp_path.iterdir()
    assert video.name.startswith(".a.")
    assert video.stat().st_size > 100_000
    if own_pid:  # as in a container, where each start has the same process id
        video.rename(tmp_path / f".a.{os.getpid()}{suffix}")
    write_images(tmp_path / f"a{suffix}", [gradient_image()] * 3)
    assert [path.name for path in tmp_path.iterdir()] == [f"a{suffix}"]


def test_hidden_files_of_other_programs_stay(tmp_path):
    names = [".a.20251124.avi", ".a.b.1.avi", ".a.1.mp4"]
    for name in names:
        (tmp_path / name).write_bytes(b"precious")
    write_images(tmp_path / "a.avi", [gradient_image()] * 3)
    assert {path.name for path in tmp_path.iterdir()} == {*names, "a.avi"}


def test_the_part_file_of_a_killed_run_is_replaced_only_with_overwrite(tmp_path):
    (tmp_path / "a.part.mp4").write_bytes(b"precious")
    with pytest.raises(UsageError, match=r"a\.part\.mp4 exists; .*--overwrite"):
        VideoSink(tmp_path / "a.mp4", fps=10)
    assert (tmp_path / "a.part.mp4").read_bytes() == b"precious"
    (tmp_path / "a.part.mp4").write_bytes(b"")  # of a run that ended before its first frame
    write_images(tmp_path / "a.mp4", [gradient_image()] * 3)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize("suffix", CODECS)
def test_the_next_start_finds_a_finished_video_without_a_name(tmp_path, monkeypatch, suffix):
    monkeypatch.setitem(sys.modules, "av", None)
    sink = noise_video(tmp_path / f"a{suffix}", frames=30)
    with failing(monkeypatch, "replace", errno.ENOSPC), pytest.raises(SinkError, match="No space left"):
        sink.close()
    with pytest.raises(UsageError, match="exists"):
        VideoSink(tmp_path / f"a{suffix}", fps=10)
    VideoSink(tmp_path / f"a{suffix}", fps=10, rotation=Rotation(10**6, 10**9)).close()
    assert [path.name for path in tmp_path.iterdir()] == [f"a.000001{suffix}"]
    assert len(read_video(tmp_path / f"a.000001{suffix}")[0]) == 30


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_second_ctrl_c_during_close_keeps_the_video(tmp_path, monkeypatch, call):
    sink = noise_video(tmp_path / "a.mp4", frames=30)
    with failing(monkeypatch, call, KeyboardInterrupt()), pytest.raises(KeyboardInterrupt):
        sink.close()
    sink.close()
    assert [path.name for path in tmp_path.iterdir()] == ["a.part.mp4"]
    assert len(read_video(tmp_path / "a.part.mp4")[0]) == 30


def test_a_ctrl_c_before_the_index_keeps_the_fragments(tmp_path, monkeypatch):
    sink = noise_video(tmp_path / "a.mp4", frames=30)
    monkeypatch.setattr("camrt.runtime.sinks.crash_safe_file.SYNC_S", 0.0)
    with failing(monkeypatch, "fdatasync", KeyboardInterrupt()), pytest.raises(KeyboardInterrupt):
        sink.close()
    assert [path.name for path in tmp_path.iterdir()] == ["a.part.mp4"]
    assert len(read_video(tmp_path / "a.part.mp4")[0]) >= 24


@pytest.mark.usefixtures("writer")
def test_a_video_that_cannot_get_its_name_keeps_the_temporary_one(tmp_path, monkeypatch):
    sink = noise_video(tmp_path / "a.mp4", frames=30)
    with (
        failing(monkeypatch, "replace", errno.EACCES),
        pytest.raises(SinkError, match="Permission denied; see ") as raised,
    ):
        sink.close()
    sink.close()
    (part,) = tmp_path.iterdir()
    assert str(raised.value).endswith(f"; see {part.name}")
    assert len(read_video(part)[0]) == 30


def test_a_failing_disk_during_close_keeps_the_video(tmp_path, monkeypatch):
    sink = noise_video(tmp_path / "a.mp4", frames=30)
    with failing(monkeypatch, "fsync", errno.EIO), pytest.raises(SinkError, match="Input/output error"):
        sink.close()
    assert [path.name for path in tmp_path.iterdir()] == ["a.part.mp4"]
    assert len(read_video(tmp_path / "a.part.mp4")[0]) == 30


@pytest.mark.process
@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv"])
def test_a_limit_on_file_size_is_an_error_and_leaves_no_video(tmp_path, suffix):
    output = write_noise(400_000, tmp_path, f"a{suffix}", "OpenCV")
    assert "could be written, so the video was removed. Check the free disk space" in output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.process
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_with_pyav_a_limit_on_file_size_is_an_error_and_keeps_the_video_so_far(tmp_path, suffix):
    output = write_noise(1_000_000, tmp_path, f"a{suffix}", "PyAV")
    assert "cannot be written: the disk is full" in output or "File too large" in output
    frames, _ = read_video(tmp_path / f"a{suffix}")
    count = int(output.split()[0])
    assert count > 12
    assert count - 7 <= len(frames) <= count  # at 10 fps a fragment is 5 frames, plus the frame that ends it
    assert [path.name for path in tmp_path.iterdir()] == [f"a{suffix}"]


@pytest.mark.process
@pytest.mark.parametrize("package", ["PyAV", "OpenCV"])
def test_a_full_disk_keeps_the_video_so_far(tmp_path, package):
    script = f'"$0" -c "$1" disk/a.mp4 {package} && cp disk/a.mp4 kept.mp4 && ls -A disk'
    done = small_disk.run(["sh", "-c", script, sys.executable, NOISE], tmp_path, size="12m")
    first, listing = done.stdout.splitlines()
    assert "less than 8 MiB are left on the disk" in first
    assert len(read_source(tmp_path / "kept.mp4")[1]) == int(first.split()[0])
    assert listing == "a.mp4"


def test_a_rotation_that_a_full_disk_stops_is_repeated_later(tmp_path, monkeypatch, writer):
    sink = noise_video(tmp_path / "a.mp4", frames=1, rotation=Rotation(size=1_000_000, keep=10**9))
    (part,) = tmp_path.iterdir()
    count = 1
    for call in ("fsync", "rename", "rename") if writer == "PyAV" else ("rename", "rename"):
        with failing(monkeypatch, call, errno.ENOSPC), suppress(DiskFull):
            while True:
                append_noise(sink, [count])
                count += 1
        assert list(tmp_path.iterdir()) == [part]
    append_noise(sink, [count])
    sink.close()
    older, newer = sorted(tmp_path.iterdir())
    assert (older.name, newer.name) == ("a.000001.mp4", "a.mp4")
    assert [len(read_video(path)[0]) for path in (older, newer)] == [count, 1]


@pytest.mark.usefixtures("writer")
def test_a_video_that_cannot_be_rotated_gets_its_name_in_close(tmp_path, monkeypatch):
    sink = noise_video(tmp_path / "a.mp4", frames=1, rotation=Rotation(size=1_000_000, keep=10**9))
    with failing(monkeypatch, "rename", errno.EACCES), pytest.raises(SinkError, match="Permission denied"):
        append_noise(sink, range(1, 100))
    sink.close()
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    assert len(read_video(tmp_path / "a.mp4")[0]) > 10
