"""``camrt cameras``: what this machine has, or what to do."""

import json
from pathlib import Path

import pytest

from camrt.cli.cameras import _words
from camrt.runtime.sources.v4l2 import Camera, Mode
from support.command import succeeds


@pytest.mark.process
def test_cameras_are_listed_or_it_is_said_what_to_do():
    listed = json.loads(succeeds("cameras", "--json"))
    assert {camera["device"] for camera in listed} <= {str(path) for path in Path("/dev").glob("video*")}
    said = succeeds("cameras")
    if listed:
        assert said.startswith(f"{listed[0]['number']}  {listed[0]['name']} (/dev/video")
    else:
        assert said.startswith("no camera was found (/dev/video*). Plug one in")


def test_a_camera_is_a_line_and_each_mode_another():
    modes = (Mode("MJPG", 1280, 720, (30.0, 7.5)), Mode("YUYV", 640, 480, (), least=(32, 24)))
    assert _words(Camera(2, "/dev/video2", "Webcam", modes)).splitlines() == [
        "2  Webcam (/dev/video2)",
        "   MJPG  1280x720                  30, 7.5 fps",
        "   YUYV  32x24 to 640x480",
    ]
    assert "not known: Permission denied; camrt doctor" in _words(
        Camera(0, "/dev/video0", "x", (), "Permission denied")
    )
