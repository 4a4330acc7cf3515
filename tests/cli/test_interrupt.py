"""Ctrl-C and SIGTERM end a command soon and without a traceback, and leave complete files."""

import shutil
import signal
import socket
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from support import http_camera
from support.command import interrupt, started
from support.desktop import eventually
from support.events import read_events
from support.videos import read_video

pytestmark = pytest.mark.process

WITHIN_S = 120


def files_with_content(folder, pattern, size=20_000):
    """Return the files of a pattern that have more than ``size`` bytes."""
    files = []
    for path in folder.glob(pattern):
        with suppress(FileNotFoundError):  # it was renamed to its final name
            files += [path] if path.stat().st_size > size else []
    return files


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_live_finishes_its_files(mobilenet, dog_video, tmp_path, signal_number):
    flags = ["-o", "out.mp4", "--events", "e.jsonl", "-o", "pictures"]
    with started("live", mobilenet, "--source", dog_video, *flags, cwd=tmp_path) as process:
        assert eventually(lambda: files_with_content(tmp_path, "out.part.mp4"), within_s=WITHIN_S)
        status, errors = interrupt(process, signal_number)
    assert status == 0, errors
    events = read_events(tmp_path / "e.jsonl")
    assert 0 < len(events) < 336
    assert [event["frame"] for event in events] == list(range(len(events)))
    assert len(read_video(tmp_path / "out.mp4")[0]) == len(events) == len(list((tmp_path / "pictures").iterdir()))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e.jsonl", "out.mp4", "pictures"]
    assert f"{len(events)} frames in" in errors


def test_live_ends_while_its_camera_is_silent(mobilenet, shared_data, tmp_path):
    with http_camera.serve(shared_data / "videos" / "oc_dog.mp4") as address:
        flags = ["--source", f"{address}/stalls", "-o", "out.mp4", "--events", "e.jsonl"]
        with started("live", mobilenet, *flags, cwd=tmp_path) as process:
            assert eventually(lambda: files_with_content(tmp_path, "e.jsonl", 0), within_s=WITHIN_S)
            status, errors = interrupt(process)
    assert status == 0, errors
    assert len(read_video(tmp_path / "out.mp4")[0]) == len(read_events(tmp_path / "e.jsonl"))


def test_live_ends_in_order_at_any_moment_of_a_silence(mobilenet, shared_data, tmp_path):
    """OpenCV gives up a silent camera after five seconds; the process must not abort when both happen at once."""
    delays_s = (3.6, 4.0, 4.4, 4.8, 5.2)
    with ExitStack() as running:
        address = running.enter_context(http_camera.serve(shared_data / "videos" / "oc_dog.mp4"))
        processes = []
        for delay_s in delays_s:
            log = tmp_path / f"{delay_s}.jsonl"
            flags = ["--source", f"{address}/stalls", "-o", f"{delay_s}.mkv", "--events", log]
            processes.append(running.enter_context(started("live", mobilenet, *flags, cwd=tmp_path)))
            assert eventually(lambda log=log: log.exists() and log.stat().st_size > 0, within_s=WITHIN_S)
        silent = {}
        while len(silent) < len(delays_s):
            for delay_s, process in zip(delays_s, processes, strict=True):
                if delay_s in silent:
                    continue
                # The log also has the loss, after five seconds, so its own age is not the time without a picture.
                shown_s = max(
                    event["time"] for event in read_events(tmp_path / f"{delay_s}.jsonl") if not event["lost"]
                )
                if time.time() - shown_s >= delay_s:
                    process.send_signal(signal.SIGTERM)
                    silent[delay_s] = process
            time.sleep(0.02)
        for delay_s, process in silent.items():
            _, errors = process.communicate(timeout=WITHIN_S)
            assert (process.returncode, "Traceback" in errors) == (0, False), errors
            assert len(read_video(tmp_path / f"{delay_s}.mkv")[0]) == len(read_events(tmp_path / f"{delay_s}.jsonl"))


def test_live_ends_while_it_connects_to_an_address_that_does_not_answer(mobilenet, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(WITHIN_S)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/live"
        with started("live", mobilenet, "--source", url, "-o", "out.mp4", cwd=tmp_path) as process:
            connection, _ = server.accept()  # the client waits for an answer
            status, errors = interrupt(process)
            connection.close()
    assert (status, errors) == (1, "camrt: interrupted\n")
    assert not any(tmp_path.iterdir())


def test_annotate_keeps_complete_images(mobilenet, photo, tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(400):
        (tmp_path / "in" / f"{number}.jpg").symlink_to(photo)
    with started("annotate", mobilenet, "in", "-o", "out", cwd=tmp_path) as process:
        assert eventually(lambda: files_with_content(tmp_path, "out/*.jpg"), within_s=WITHIN_S)
        status, errors = interrupt(process)
    assert status == 1
    images = sorted((tmp_path / "out").iterdir(), key=lambda path: int(path.stem))
    assert 0 < len(images) < 400
    assert [path.name for path in images] == [f"{number}.jpg" for number in range(len(images))]
    assert f"wrote {len(images)} of 400 files" in errors
    assert errors.endswith("camrt: stopped before the end; --resume goes on\n")


def test_annotate_completes_the_current_video_and_skips_the_next(mobilenet, dog_video, tmp_path):
    for name in ("a.mp4", "b.mp4"):
        shutil.copy(dog_video, tmp_path / name)
    with started("annotate", mobilenet, "a.mp4", "b.mp4", "-o", "out", cwd=tmp_path) as process:
        assert eventually(lambda: files_with_content(tmp_path, "out/a.part.mp4"), within_s=WITHIN_S)
        status, errors = interrupt(process, signal.SIGTERM)
    assert status == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.mp4"]
    frames = len(read_video(tmp_path / "out" / "a.mp4")[0])
    assert f"out/a.mp4 stops after frame {frames} of 336" in errors


@pytest.mark.parametrize("task", [["bench", "--rounds", "1000"], ["inspect", "--verify"]])
def test_an_interrupt_ends_a_command_without_outputs(squeezenet, task):
    with started(task[0], squeezenet, *task[1:]) as process:
        loaded = eventually(lambda: "onnxruntime_pybind11" in _maps(process), within_s=WITHIN_S)
        assert loaded
        status, errors = interrupt(process)
    assert (status, errors) == (1, "camrt: interrupted\n")


def _maps(process):
    return Path(f"/proc/{process.pid}/maps").read_text()
