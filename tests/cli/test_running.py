"""``camrt live`` in long runs: kills, full disks, systemd, and settings that change."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import av
import cv2
import pytest

from support import small_disk
from support.command import camrt, command, interrupt, started
from support.desktop import eventually
from support.events import read_events
from support.needs import environment
from support.serving import DEMO
from support.videos import read_video

pytestmark = pytest.mark.process

WITHIN_S = 120


class Messages:
    """The standard error of a process so far; `interrupt` returns the rest."""

    def __init__(self, process):
        self._stream = process.stderr.fileno()
        self.text = ""

    def line(self, words):
        """Wait for a line that contains ``words``, and return it."""
        assert eventually(lambda: words in self._read().rpartition("\n")[0], within_s=WITHIN_S), self.text
        return next(line for line in self.text.splitlines() if words in line)

    def _read(self):
        os.set_blocking(self._stream, False)
        with suppress(BlockingIOError):
            self.text += os.read(self._stream, 100_000).decode()
        os.set_blocking(self._stream, True)
        return self.text


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_kill_costs_a_video_its_last_second_and_the_events_nothing(mobilenet, tmp_path, suffix):
    outputs = ["-o", f"seen{suffix}", "--events", "seen.jsonl"]
    part = tmp_path / f"seen.part{suffix}"
    with started("live", mobilenet, "--source", "synthetic", *outputs, cwd=tmp_path) as process:
        assert eventually(lambda: _seconds_in(tmp_path / "seen.jsonl") > 4.3, within_s=WITHIN_S)
        process.kill()
        process.wait()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["seen.jsonl", part.name]
    assert (tmp_path / "seen.jsonl").read_bytes().endswith(b"\n")
    events = read_events(tmp_path / "seen.jsonl")
    lasted_s = events[-1]["time"] - events[0]["time"]
    with av.open(part) as video:
        (stream,) = video.streams
        times = [frame.time for frame in video.decode(stream)]
    assert stream.codec_context.name == "h264"
    assert times[0] == 0
    assert lasted_s - 1 <= times[-1] <= lasted_s + 0.1
    # The video has the frame of each event, at its time.
    assert times == pytest.approx([event["time"] - events[0]["time"] for event in events[: len(times)]], abs=0.002)
    assert len(read_video(part)[0]) == len(times)  # OpenCV plays it as well


def _seconds_in(log):
    """Return the duration of an event log; its last line may be incomplete."""
    times = [json.loads(line)["time"] for line in log.read_text().split("\n")[:-1]] if log.exists() else []
    return times[-1] - times[0] if times else 0.0


def test_after_a_kill_the_next_run_continues_and_nothing_is_lost(mobilenet, tmp_path):
    flags = ["--source", "synthetic", "-o", "seen.mp4", "--events", "seen.jsonl", "--rotate", "100M"]
    with started("live", mobilenet, *flags, cwd=tmp_path) as process:
        part = tmp_path / "seen.part.mp4"
        assert eventually(lambda: part.exists() and part.stat().st_size > 200_000, within_s=WITHIN_S)
        process.kill()
        process.wait()
    before = read_events(tmp_path / "seen.jsonl")
    with (tmp_path / "seen.jsonl").open("a") as log:
        log.write('{"frame": 12, "ti')  # as after a power failure
    done = camrt("live", mobilenet, *flags, "--frames", "20", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["seen.000001.mp4", "seen.jsonl", "seen.mp4"]
    events = read_events(tmp_path / "seen.jsonl")
    assert (events[: len(before)], len(events)) == (before, len(before) + 20)
    assert len(read_video(tmp_path / "seen.000001.mp4")[0]) >= len(before) - 30
    assert len(read_video(tmp_path / "seen.mp4")[0]) == 20


def test_with_rotate_image_numbers_continue_in_the_next_run(mobilenet, tmp_path):
    flags = ["--source", "synthetic", "-o", "seen", "--frames", "3"]
    earlier = {}
    for run in (1, 2):
        done = camrt("live", mobilenet, *flags, "--rotate", "100M", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        files = sorted((tmp_path / "seen").iterdir())
        assert len(files) == 3 * run
        assert {path: path.read_bytes() for path in files[: len(earlier)]} == earlier
        earlier = {path: path.read_bytes() for path in files}
    done = camrt("live", mobilenet, *flags, cwd=tmp_path)
    assert done.returncode == 2
    assert "exists; choose another name" in done.stderr


# The disk vanishes with the last process that uses it, so its files are copied.
ON_A_SMALL_DISK = '"$@" & echo $! > pid; wait $!; status=$?; mkdir kept && cp disk/* kept; exit $status'


def test_a_full_disk_pauses_the_outputs_of_a_camera_until_there_is_space(mobilenet, tmp_path):
    outputs = ["-o", "disk/seen.mp4", "--events", "disk/seen.jsonl"]
    words = command("live", mobilenet, "--source", "synthetic", *outputs)
    with small_disk.start(["sh", "-c", ON_A_SMALL_DISK, "sh", *words], tmp_path, size="40m") as process:
        messages = Messages(process)
        try:
            messages.line(": ")
            small_disk.require(messages.text)
            messages.line("Ctrl-C stops")
            live = int((tmp_path / "pid").read_text())
            disk = Path(f"/proc/{live}/cwd/disk")
            log = disk / "seen.jsonl"
            assert eventually(lambda: log.exists() and log.stat().st_size > 5000, within_s=WITHIN_S)
            _fill(disk / "ballast")
            message = messages.line("Nothing is written to disk/seen.mp4 until there is space")
            # The ballast may be faster than the video's next look at the space that is left.
            assert "less than 8 MiB are left on the disk" in message or "the disk is full" in message
            messages.line("disk/seen.jsonl cannot be written: ")
            size = log.stat().st_size
            time.sleep(1)
            assert log.stat().st_size == size
            (disk / "ballast").unlink()
            messages.line("disk/seen.mp4 is written again")
            messages.line("disk/seen.jsonl is written again")
            assert eventually(lambda: log.stat().st_size > size + 5000, within_s=WITHIN_S)
            os.kill(live, signal.SIGTERM)
            assert process.wait(timeout=WITHIN_S) == 0
        finally:
            process.kill()
    assert (messages.text.count("until there is space"), messages.text.count("is written again")) == (2, 2)
    copies = tmp_path / "kept"
    assert sorted(path.name for path in copies.iterdir()) == ["seen.000001.mp4", "seen.jsonl", "seen.mp4"]
    assert all(len(read_video(copies / name)[0]) > 3 for name in ("seen.000001.mp4", "seen.mp4"))
    indices = [event["frame"] for event in read_events(copies / "seen.jsonl")]
    assert indices == sorted(set(indices))
    assert max(later - earlier for earlier, later in pairwise(indices)) > 20  # dropped while the disk was full


def _fill(path):
    """Write until the disk is full."""
    with path.open("wb", buffering=0) as ballast, suppress(OSError):
        while True:
            ballast.write(bytes(4096))


def test_a_run_goes_on_if_the_standard_error_cannot_be_written(tmp_path):
    """As when the standard error is a file on the full disk."""
    words = [sys.executable, "-m", "camrt.cli", "live", DEMO, "--source", "synthetic", "--frames", "20"]
    with Path("/dev/full").open("w") as full:
        subprocess.run(
            [*words, "--events", "e.jsonl"], cwd=tmp_path, env=environment(), stderr=full, check=False, timeout=60
        )
    assert len(read_events(tmp_path / "e.jsonl")) == 20


def test_free_space_is_checked_in_the_image_folder_itself(tmp_path):
    script = """
import subprocess, sys
from camrt.errors import DiskFull
from camrt.runtime.sinks.disk_full import CHECK_S, PausingSink
from pathlib import Path
import time
subprocess.run("mkdir disk/images && mount -t tmpfs -o size=100M tmpfs disk/images", shell=True, check=True)
class Sink:
    written = 0
    def write(self, rendered):
        self.written += 1
        if self.written == 1:
            raise DiskFull("full")
sink = Sink()
live = PausingSink(sink, Path("disk/images"), print)
live.write(None)
time.sleep(CHECK_S + 0.1)
live.write(None)
print(sink.written)
"""
    done = small_disk.run([sys.executable, "-c", script], tmp_path, size="1M")
    assert done.stdout.splitlines()[-1:] == ["2"], done.stdout + done.stderr


def test_a_run_over_a_file_fails_on_a_full_disk(mobilenet, dog_video, tmp_path):
    words = ["live", mobilenet, "--source", dog_video, "-o", "disk/seen.mp4"]
    run = small_disk.run(command(*words), tmp_path, size="9m")
    assert run.returncode == 1
    assert "less than 8 MiB are left on the disk" in run.stderr


@contextmanager
def notified(folder):
    """A socket as systemd's; yields it, and the environment variables of a service that reports to it."""
    address = str(folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(address)
        listening.settimeout(WITHIN_S)
        yield listening, {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "400000"}


def until_silent(listening, silence_s):
    """Receive until nothing comes for ``silence_s`` seconds, and return all messages."""
    messages = []
    listening.settimeout(silence_s)
    with suppress(TimeoutError):
        while True:
            messages.append(listening.recv(100))
    listening.settimeout(WITHIN_S)
    return messages


@pytest.mark.parametrize("source", ["synthetic", "video"])
def test_systemd_gets_ready_watchdog_and_stopping(mobilenet, dog_video, tmp_path, source):
    flags = ["--source", dog_video if source == "video" else source, "--events", "seen.jsonl"]
    with notified(tmp_path) as (listening, settings):
        with started("live", mobilenet, *flags, cwd=tmp_path, **settings) as process:
            assert listening.recv(100) == b"READY=1"
            assert read_events(tmp_path / "seen.jsonl")  # ready means that a frame was drawn
            assert [listening.recv(100) for _ in range(4)] == [b"WATCHDOG=1"] * 4
            status, _ = interrupt(process, signal.SIGTERM)
        messages = until_silent(listening, 0.1)
    assert status == 0
    assert messages[-1] == b"STOPPING=1"
    assert set(messages[:-1]) <= {b"WATCHDOG=1"}


def test_a_service_that_hangs_sends_no_watchdog(mobilenet, tmp_path):
    flags = ["--source", "synthetic", "--events", "seen.jsonl"]
    with (
        notified(tmp_path) as (listening, settings),
        started("live", mobilenet, *flags, cwd=tmp_path, **settings) as process,
    ):
        assert listening.recv(100) == b"READY=1"
        process.send_signal(signal.SIGSTOP)
        until_silent(listening, 1.5)
        process.send_signal(signal.SIGCONT)
        assert listening.recv(100) == b"WATCHDOG=1"
        assert interrupt(process)[0] == 0


def test_sighup_applies_changed_settings_and_reports_the_rest(mobilenet, tmp_path):
    settings = tmp_path / "camrt.toml"
    settings.write_text(
        f'model = "{mobilenet}"\nsource = "synthetic"\noutput = "seen"\n'
        "no-hud = true\nalpha-by-value = false\nalpha = 0\n"
    )
    with started("live", "--config", settings, cwd=tmp_path) as process:
        messages = Messages(process)
        images = tmp_path / "seen"
        assert eventually(lambda: images.exists() and len(list(images.glob("synthetic_*.jpg"))) > 3, within_s=WITHIN_S)
        settings.write_text(settings.read_text().replace("alpha = 0", 'alpha = 1.0\ncolormap = "bone"\nsync = true'))
        process.send_signal(signal.SIGHUP)
        message = messages.line("was reloaded")
        assert "alpha is now 1.0" in message
        assert "colormap is now bone" in message
        assert message.endswith("restart to apply sync")
        changed = max(int(path.stem.split("_")[1]) for path in images.glob("synthetic_*.jpg"))
        settings.write_text(settings.read_text().replace("alpha = 1.0", "alpha = 7"))
        process.send_signal(signal.SIGHUP)
        assert "no setting was changed: alpha 7.0 must be within [0, 1]" in messages.line(
            "no setting was changed: alpha"
        )
        settings.write_text("alpha = ")
        process.send_signal(signal.SIGHUP)
        messages.line("is not TOML")
        settings.write_text(f'model = "{mobilenet}"\nsource = "synthetic"\nclasses = "no such class"\n')
        process.send_signal(signal.SIGHUP)
        messages.line("no such class")
        settings.write_text('source = "synthetic"\n')
        process.send_signal(signal.SIGHUP)
        messages.line("no setting was changed: name a model file")
        late = max(int(path.stem.split("_")[1]) for path in images.glob("synthetic_*.jpg"))
        settings.write_text(f'model = "{mobilenet}"\nsource = "synthetic"\nboxes = true\n')
        process.send_signal(signal.SIGHUP)
        messages.line("boxes is now true")
        status, errors = interrupt(process, signal.SIGTERM)
    assert status == 0, errors
    assert _detail(images, 0) > 100  # the scene
    # The frame that is drawn at that moment keeps the old settings; the next one is the map alone, which is smooth.
    assert _detail(images, changed + 2) < 30
    assert _detail(images, late) < 30  # the invalid settings are ignored


def _detail(images, index):
    """Return the variance of the edges in the first image from ``index`` on."""
    path = min(path for path in images.iterdir() if int(path.stem.split("_")[1]) >= index)
    return cv2.Laplacian(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), cv2.CV_64F).var()


def test_without_pyav_a_message_names_the_codec(mobilenet, tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "av.py").write_text("raise ImportError('not installed')")
    flags = ["--source", "synthetic", "--frames", "3", "-o", "seen.mp4"]
    path = os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")])
    done = camrt("live", mobilenet, *flags, cwd=tmp_path, PYTHONPATH=path)
    assert done.returncode == 0
    assert "seen.mp4: written as MPEG-4 part 2, which browsers do not play" in done.stderr
    assert "pip install 'camrt[video]'" in done.stderr
    assert len(read_video(tmp_path / "seen.mp4")[0]) == 3


def test_keep_without_rotate_is_an_error(mobilenet, tmp_path):
    done = camrt("live", mobilenet, "--source", "synthetic", "-o", "a.mp4", "--keep", "1G", cwd=tmp_path)
    assert done.returncode == 2
    assert "pass --rotate as well" in done.stderr
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("size", ["0", "much", "-1", "1X", "0.1"])
def test_a_malformed_size_is_an_error(size):
    done = camrt("live", "m.onnx", f"--rotate={size}")
    assert done.returncode == 2
    assert "is not a size; write bytes, or 100k, 500M, 2G" in done.stderr
