"""Flags of sources reach each source, and no message of the command line has a password."""

import pytest

from camrt.cli import parse
from camrt.cli.source_flags import source_options
from camrt.errors import UsageError
from camrt.runtime.sources import SourceOptions
from camrt.runtime.sources.network.url import redact
from support import picture_server
from support.command import camrt, interrupt, refusal, started
from support.desktop import eventually
from support.events import read_events


def options_of(*flags):
    args = parse(["live", "model.onnx", *flags])
    return source_options(args, args.source or ["0"])


def test_one_value_is_for_all_sources_and_several_are_for_one_each():
    sources = ["--source", "0", "--source", "/dev/v4l/by-id/usb-cam"]
    assert options_of(*sources) == [SourceOptions()] * 2
    assert (
        options_of(*sources, "--camera-size", "640x480", "--silence-timeout", "20")
        == [SourceOptions(silence_s=20.0, size=(640, 480))] * 2
    )
    flags = ["--camera-size", "640x480", "--camera-size", "1920X1080", "--camera-fps", "15", "--camera-fps", "60"]
    assert options_of(*sources, *flags) == [
        SourceOptions(size=(640, 480), fps=15.0),
        SourceOptions(size=(1920, 1080), fps=60.0),
    ]
    videos = ["--source", "rtsp://cam/live", "--source", "film.mp4"]
    assert options_of(*videos, "--decode", "auto") == [SourceOptions(decode="auto")] * 2
    each = [SourceOptions(decode="auto"), SourceOptions(decode="software")]
    assert options_of(*videos, "--decode", "auto", "--decode", "software") == each
    assert options_of("--source", "http://cam/image", "--every", "2.5") == [SourceOptions(every_s=2.5)]


def test_each_source_of_a_file_has_its_own_mode(tmp_path):
    (tmp_path / "c.toml").write_text(
        'source = ["0", "1"]\ncamera-size = ["640x480", "320x240"]\ncamera-fps = 15\nsilence-timeout = 20\n'
    )
    args = parse(["live", "model.onnx", "--config", str(tmp_path / "c.toml")])
    assert source_options(args, args.source) == [
        SourceOptions(silence_s=20.0, size=(640, 480), fps=15.0),
        SourceOptions(silence_s=20.0, size=(320, 240), fps=15.0),
    ]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--silence-timeout", "0"], "--silence-timeout 0: more than 0"),
        (["--silence-timeout", "nan"], "--silence-timeout nan: more than 0"),
        (["--every", "2"], "--every is for still pictures, and no --source is"),
        (["--source", "http://cam/", "--every", "-1"], "--every -1: more than 0"),
        (["--source", "synthetic", "--camera-fps", "15"], "--camera-fps is for cameras of this machine, and no"),
        (["--camera-fps", "inf"], "--camera-fps inf: more than 0"),
        (["--camera-size", "640"], "--camera-size 640: write width and height in pixels, as in 1280x720"),
        (["--camera-size", "0x480"], "--camera-size 0x480: write width"),
        (["--source", "0", "--decode", "auto"], "--decode is for videos and network streams, and no --source is one"),
        (["--source", "a.mp4", "--decode", "gpu"], "--decode gpu: use auto, software, or a device of this FFmpeg: "),
        (["--camera-size", "1x1", "--camera-size", "2x2"], "--camera-size has 2 values for 1 sources"),
    ],
)
def test_a_wrong_value_is_an_error_that_says_what_to_do(flags, message):
    with pytest.raises(UsageError) as raised:
        options_of(*flags)
    assert str(raised.value).startswith(message)


@pytest.mark.process
def test_a_still_picture_is_classified_again_and_again(mobilenet, tmp_path):
    body = picture_server.picture(size=(320, 240))
    with picture_server.serving(lambda server, request: [picture_server.answer(body)]) as server:
        source = f"http://admin:pw%23secret@{server.address}/snapshot.jpg"
        flags = ["--source", source, "--every", "0.1", "--events", "e.jsonl", "--frames", "3", "-o", "seen.mp4"]
        done = camrt("live", mobilenet, *flags, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    events = read_events(tmp_path / "e.jsonl")
    assert [bool(event["top"]) for event in events] == [True] * 3
    assert [event["lost"] for event in events] == [""] * 3
    assert f"{redact(source)} gives MJPG 320x240 at 10 fps" in done.stderr
    assert "secret" not in done.stderr + done.stdout + (tmp_path / "e.jsonl").read_text()


@pytest.mark.process
@pytest.mark.parametrize(
    "words",
    [
        ["live", "{model}", "--source", "rtsp:/admin:secret@127.0.0.1/live"],
        ["live", "{model}", "--source", "admin:secret@127.0.0.1/live"],
        ["live", "{model}", "--source", "rtsp://admin:secret@127.0.0.1:1/live"],
        ["live", "{model}", "--source", "rtsp://admin:sec/ret?secret@127.0.0.1:1/live"],
        ["live", "{model}", "--source", "ftp://admin:secret@127.0.0.1/live"],
        ["live", "{model}", "rtsp://admin:secret@127.0.0.1/live"],
        ["live", "rtsp://admin:secret@127.0.0.1/live"],
        ["annotate", "{model}", "rtsp://admin:secret@127.0.0.1:1/live", "-o", "out"],
        ["annotate", "{model}", "admin:secret@127.0.0.1/live", "-o", "out"],
        ["inspect", "http://admin:secret@127.0.0.1/model.onnx"],
    ],
)
def test_no_message_has_a_password(words, mobilenet, tmp_path):
    done = camrt(*(word.replace("{model}", str(mobilenet)) for word in words), cwd=tmp_path)
    assert done.returncode in (1, 2)
    assert "secret" not in done.stdout + done.stderr
    assert "127.0.0.1" in done.stderr


@pytest.mark.process
@pytest.mark.input_kind(
    "camera or stream", "missing /dev/v4l/by-id device of several sources", "/dev/video7", "waited for"
)
def test_a_camera_that_is_not_plugged_in_is_waited_for(mobilenet, tmp_path):
    device = "/dev/v4l/by-id/usb-no-such-camera-video-index0"
    message = refusal("live", mobilenet, "--source", device, "-o", "none", status=1, cwd=tmp_path)
    assert message.startswith(f"no camera {device}")
    events = tmp_path / "e.jsonl"
    with started("live", mobilenet, "--source", "synthetic", "--source", device, "--events", events) as live:
        assert eventually(lambda: events.exists() and len({event["source"] for event in read_events(events)}) == 2)
        status, _ = interrupt(live)
    assert status == 0
    lost = [event["lost"] for event in read_events(events) if event["source"] == device]
    assert all(reason.startswith(f"no camera {device}") or "no frame yet" in reason for reason in lost)
    assert all(event["top"] for event in read_events(events) if event["source"] == "synthetic")
