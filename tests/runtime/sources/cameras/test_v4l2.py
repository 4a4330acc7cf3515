"""Video4Linux cameras: the requests match the kernel's header, and OpenCV reads a simulated driver.

The simulated driver replaces a camera, because the test machines have none.
"""

import json
import subprocess
import sys

import pytest

from camrt.runtime.sources.cameras import v4l2
from camrt.runtime.sources.cameras.v4l2 import Mode
from support.needs import skip_or_fail
from support.usb_camera import COLOUR, UsbCamera

pytestmark = pytest.mark.process

HEADER = """
#include <linux/videodev2.h>
#include <stdio.h>
int main(void) {
    printf("[[%u, %zu], [%u, %zu], [%u, %zu], [%u, %zu]]",
        (unsigned)VIDIOC_QUERYCAP, sizeof(struct v4l2_capability),
        (unsigned)VIDIOC_ENUM_FMT, sizeof(struct v4l2_fmtdesc),
        (unsigned)VIDIOC_ENUM_FRAMESIZES, sizeof(struct v4l2_frmsizeenum),
        (unsigned)VIDIOC_ENUM_FRAMEINTERVALS, sizeof(struct v4l2_frmivalenum));
}
"""
MODES = """
import sys
from pathlib import Path
from camrt.runtime.sources.cameras.v4l2 import modes_of
print(modes_of(Path(sys.argv[1])))
"""
SEE = """
import json, sys
from camrt.runtime.sources import open_source
source = open_source(sys.argv[1], tell=lambda line: print(line, flush=True))
while True:
    frame = source.read()
    if frame.index == 5 or frame.lost:
        print(frame.lost or json.dumps([frame.image.shape, frame.image.mean(axis=(0, 1)).tolist()]), flush=True)
"""
ASK = """
import sys
from camrt.runtime.sources import SourceOptions, open_source
path, width, height, fps = sys.argv[1:]
options = SourceOptions(size=(int(width), int(height)), fps=float(fps))
source = open_source(path, tell=lambda line: print(line, flush=True), options=options)
print(source.read().image.shape, flush=True)
"""


def test_requests_are_those_of_the_kernels_header(tmp_path):
    (tmp_path / "a.c").write_text(HEADER)
    try:
        subprocess.run(["gcc", "a.c", "-o", "a"], cwd=tmp_path, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        skip_or_fail(f"no C compiler with the kernel's headers: {error}")
    numbers = json.loads(subprocess.run([tmp_path / "a"], capture_output=True, text=True, check=True).stdout)
    assert numbers == [
        [v4l2.QUERYCAP, v4l2.CAPABILITY.size],
        [v4l2.ENUM_FMT, v4l2.FORMAT.size],
        [v4l2.ENUM_FRAMESIZES, v4l2.SIZE.size],
        [v4l2.ENUM_FRAMEINTERVALS, v4l2.INTERVAL.size],
    ]


@pytest.mark.parametrize(
    ("kind", "modes"),
    [
        (
            "webcam",
            (
                Mode("MJPG", 640, 480, (30.0, 15.0)),
                Mode("MJPG", 1280, 720, (30.0, 15.0)),
                Mode("YUYV", 640, 480, (30.0, 15.0)),
                Mode("YUYV", 1280, 720, (10.0,)),
            ),
        ),
        ("raw", (Mode("YUYV", 640, 480, (60.0, 5.0), least=(32, 24)),)),
    ],
)
def test_every_mode_of_a_driver_is_listed(tmp_path, kind, modes):
    camera = UsbCamera(tmp_path, kind)
    command = [sys.executable, "-c", MODES, camera.path]
    done = subprocess.run(command, env=camera.environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(modes)


def test_a_device_that_is_no_camera_is_an_error(tmp_path):
    (tmp_path / "video0").symlink_to("/dev/null")
    with pytest.raises(OSError, match="Inappropriate ioctl"):
        v4l2.modes_of(tmp_path / "video0")


@pytest.mark.parametrize(
    ("kind", "mode", "image"),
    [
        ("webcam", "MJPG 1280x720 at 30 fps", ([720, 1280, 3], [*COLOUR])),
        ("raw", "YUYV 640x480 at 30 fps (requested: MJPG 1280x720 at 30 fps)", ([480, 640, 3], [130, 130, 130])),
    ],
)
def test_a_usb_camera_is_set_to_mjpg_and_comes_back_after_it_was_pulled_out(tmp_path, kind, mode, image):
    camera = UsbCamera(tmp_path, kind)
    with subprocess.Popen(
        [sys.executable, "-c", SEE, camera.path], env=camera.environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline().strip() == f"{camera.path} gives {mode}"
        shape, colour = json.loads(process.stdout.readline())
        assert shape == image[0]
        assert colour == pytest.approx(image[1], abs=2)
        camera.pull_out()
        assert process.stdout.readline().startswith(f"{camera.path} was lost: it ended after ")
        assert "; trying again in 1 s" in process.stdout.readline()
        while "no camera" not in process.stdout.readline():
            pass
        camera.plug_in()
        while not (line := process.stdout.readline()).startswith(f"{camera.path} is back after "):
            pass
        assert line.strip().endswith(f" and gives {mode}")
        process.kill()


@pytest.mark.input_kind("camera or stream", "USB camera with a size and a rate", "a simulated driver", "what it gives")
@pytest.mark.parametrize(
    ("wanted", "mode", "shape"),
    [
        ((640, 480, 15), "MJPG 640x480 at 15 fps", (480, 640, 3)),
        ((1920, 1080, 60), "MJPG 1280x720 at 30 fps (requested: MJPG 1920x1080 at 60 fps)", (720, 1280, 3)),
    ],
)
def test_a_usb_camera_is_set_to_a_size_and_a_rate(tmp_path, wanted, mode, shape):
    camera = UsbCamera(tmp_path, "webcam")
    command = [sys.executable, "-c", ASK, camera.path, *map(str, wanted)]
    with subprocess.Popen(command, env=camera.environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().strip() == f"{camera.path} gives {mode}"
        assert process.stdout.readline().strip() == str(shape)
        process.kill()
