"""``camrt cameras`` lists the cameras of this machine, or says what to do."""

import json
from pathlib import Path

import pytest

from camrt.cli.cameras import _describe
from camrt.runtime.sources.cameras.v4l2 import Mode, V4l2Device
from support.command import succeeds


@pytest.mark.process
def test_cameras_lists_each_camera_or_says_what_to_do():
    cameras = json.loads(succeeds("cameras", "--json"))
    assert {camera["device"] for camera in cameras} <= {str(path) for path in Path("/dev").glob("video*")}
    output = succeeds("cameras")
    if cameras:
        assert output.startswith(f"{cameras[0]['number']}  {cameras[0]['name']} (/dev/video")
    else:
        assert output.startswith("no camera was found (/dev/video*). Plug one in")


def test_each_camera_and_each_mode_has_a_line():
    modes = (Mode("MJPG", 1280, 720, (30.0, 7.5)), Mode("YUYV", 640, 480, (), least=(32, 24)))
    assert _describe(V4l2Device(2, "/dev/video2", "Webcam", modes)).splitlines() == [
        "2  Webcam (/dev/video2)",
        "   MJPG  1280x720                  30, 7.5 fps",
        "   YUYV  32x24 to 640x480",
    ]
    closed = V4l2Device(0, "/dev/video0", "x", (), "Permission denied")
    assert "unknown: Permission denied; run camrt doctor" in _describe(closed)
