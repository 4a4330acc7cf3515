"""``camrt live`` on network cameras with real RTSP and HTTP servers: newest frames, losses and reconnection."""

import signal
import time

import pytest

from camrt.runtime.sources.network.url import redact
from support import http_camera, rtsp_camera
from support.command import camrt, interrupt, refusal, started
from support.events import read_events
from support.videos import read_video

pytestmark = [pytest.mark.process, pytest.mark.rtsp]


@pytest.fixture(scope="module")
def http(shared_data):
    with http_camera.serve(shared_data / "videos" / "oc_dog.mp4") as address:
        yield address


@pytest.mark.parametrize("flags", [[], ["--sync", "--decode", "auto"]])
def test_an_rtsp_camera_is_drawn_live(mobilenet, tmp_path, flags):
    with rtsp_camera.serve() as (_, address):
        with_secret = address.replace("//", "//user:secret@") + "/live"
        outputs = ["-o", "out.mp4", "--events", "e.jsonl", "--frames", "40", *flags]
        done = camrt("live", mobilenet, "--source", with_secret, *outputs, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    frames, _ = read_video(tmp_path / "out.mp4")
    assert (len(frames), frames[0].shape) == (40, (240, 320, 3))
    events = read_events(tmp_path / "e.jsonl")
    indices = [event["frame"] for event in events]
    assert indices == sorted(set(indices))
    assert all(event["result_frame"] <= event["frame"] for event in events)
    if flags:
        assert all(event["result_frame"] == event["frame"] for event in events)
    assert {event["source"] for event in events} == {redact(f"{address}/live")}
    assert ("at 30 fps, decoded " in done.stderr) == ("--decode" in flags)
    assert "secret" not in done.stderr + (tmp_path / "e.jsonl").read_text()


def test_an_http_stream_that_its_server_ends_is_opened_again(mobilenet, http, tmp_path):
    flags = ["--source", f"{http}/short", "--events", "e.jsonl", "--sync", "--frames", str(http_camera.FRAMES + 1)]
    done = camrt("live", mobilenet, *flags, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    events = read_events(tmp_path / "e.jsonl")
    assert sum(bool(event["lost"]) for event in events) > 0
    assert sum(bool(event["top"]) for event in events) == http_camera.FRAMES + 1


def test_a_video_over_http_is_lossless(mobilenet, http, tmp_path):
    flags = ["--source", f"{http}/video.mp4", "--events", "e.jsonl"]
    done = camrt("live", mobilenet, *flags, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [event["frame"] for event in read_events(tmp_path / "e.jsonl")] == list(range(336))


def wait_for(events, key):
    """Wait for a new event with ``key``."""
    before = len(read_events(events)) if events.exists() else 0
    deadline = time.monotonic() + 60
    while not (events.exists() and any(event.get(key) for event in read_events(events)[before:])):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_camera_that_is_switched_off_and_on_is_drawn_again(mobilenet, tmp_path):
    events = tmp_path / "e.jsonl"
    outputs = ["-o", "out.mp4", "-o", "images", "--events", events]
    with (
        rtsp_camera.serve() as (camera, address),
        started("live", mobilenet, "--source", f"{address}/live", *outputs, cwd=tmp_path) as live,
    ):
        wait_for(events, "top")
        camera.kill()
        wait_for(events, "lost")
        with rtsp_camera.serve(int(address.rpartition(":")[2]), size=(200, 120)):
            wait_for(events, "top")
            status, errors = interrupt(live)
    assert status == 0
    name = redact(f"{address}/live")
    assert f"{name} gives H264 320x240 at 30 fps" in errors
    assert f"{name} was lost: " in errors
    assert f"{name} is back after " in errors
    records = read_events(events)
    losses = [event for event in records if event["lost"]]
    assert all("trying" in event["lost"] for event in losses)
    assert [event["frame"] for event in records] == sorted({event["frame"] for event in records})
    frames, _ = read_video(tmp_path / "out.mp4")
    assert {frame.shape for frame in frames} == {(240, 320, 3)}
    assert len(frames) == len(records)
    assert len(list((tmp_path / "images").iterdir())) == len(records) - len(losses)


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_without_a_signal_stops_and_finishes_the_video(mobilenet, http, tmp_path, signal_number):
    events = tmp_path / "e.jsonl"
    flags = ["--source", f"{http}/stalls?token=abc", "-o", "out.mp4", "--events", events]
    with started("live", mobilenet, *flags, cwd=tmp_path) as live:
        wait_for(events, "top")
        wait_for(events, "lost")
        status, errors = interrupt(live, signal_number)
    assert status == 0
    assert f"{redact(flags[1])} was lost: no frame for 5 s" in errors
    assert len(read_video(tmp_path / "out.mp4")[0]) == len(read_events(events))


def test_an_address_without_a_camera_is_an_error_that_names_it(mobilenet, http, tmp_path):
    errors = refusal("live", mobilenet, "--source", f"{http}/nowhere", "-o", "out.mp4", status=1, cwd=tmp_path)
    assert f"{redact(f'{http}/nowhere')} cannot be opened: the server answered 404 Not Found; check the path" in errors
    assert not any(tmp_path.iterdir())
