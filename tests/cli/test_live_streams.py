"""``camrt live`` on network cameras: real RTSP and HTTP servers, newest frame first, each loss named."""

import pytest

from support import http_camera, rtsp_camera
from support.command import camrt, refusal
from support.events import read_events
from support.videos import read_video


@pytest.fixture(scope="module")
def http(shared_data):
    with http_camera.serve(shared_data / "videos" / "oc_dog.mp4") as address:
        yield address


@pytest.mark.parametrize("flags", [[], ["--sync"]])
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
    assert {event["source"] for event in events} == {f"{address}/live"}
    assert "secret" not in done.stderr + (tmp_path / "e.jsonl").read_text()


def test_an_http_stream_ends_with_its_server(mobilenet, http, tmp_path):
    done = camrt("live", mobilenet, "--source", f"{http}/short", "--events", "e.jsonl", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert 0 < len(read_events(tmp_path / "e.jsonl")) <= http_camera.FRAMES


def test_a_video_over_http_is_lossless(mobilenet, http, tmp_path):
    flags = ["--source", f"{http}/video.mp4", "--events", "e.jsonl"]
    done = camrt("live", mobilenet, *flags, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [event["frame"] for event in read_events(tmp_path / "e.jsonl")] == list(range(336))


def test_a_camera_that_falls_silent_is_an_error_and_the_video_is_finished(mobilenet, http, tmp_path):
    outputs = ["-o", "out.mp4", "--events", "e.jsonl"]
    said = refusal("live", mobilenet, "--source", f"{http}/stalls?token=abc", *outputs, status=1, cwd=tmp_path)
    assert "/stalls?token=*** was lost: no frame for 5 s" in said
    assert len(read_video(tmp_path / "out.mp4")[0]) == len(read_events(tmp_path / "e.jsonl")) > 0


def test_an_address_without_a_camera_is_named(mobilenet, http, tmp_path):
    said = refusal("live", mobilenet, "--source", f"{http}/nowhere", "-o", "out.mp4", status=1, cwd=tmp_path)
    assert "/nowhere cannot be opened: the server answered, but gave no video" in said
    assert not any(tmp_path.iterdir())
