"""A USB camera that a test plugs in and out. A separate process sees it through usb_camera.c."""

import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np

from support.needs import environment, skip_or_fail

COLOUR = (10, 200, 90)
"""Blue, green, red of every frame in MJPG. Frames in YUYV are grey."""


class UsbCamera:
    """``path`` is the device file, and ``environment`` has the variables that let a process see it."""

    def __init__(self, folder, kind):
        if shutil.which("gcc") is None or not Path("/usr/include/linux/videodev2.h").exists():
            skip_or_fail("no C compiler with the kernel's headers")
        library = folder / "usb_camera.so"
        source = Path(__file__).with_name("usb_camera.c")
        subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
        for width, height in ((640, 480), (1280, 720)):
            jpeg = cv2.imencode(".jpg", np.full((height, width, 3), COLOUR, np.uint8))[1]
            (folder / f"{width}x{height}.jpg").write_bytes(jpeg.tobytes())
        self.path = folder / "video0"
        self.environment = environment(
            LD_PRELOAD=str(library), USB_CAMERA=str(self.path), USB_CAMERA_KIND=kind, USB_CAMERA_JPEGS=str(folder)
        )
        self.plug_in()

    def plug_in(self):
        self.path.symlink_to("/dev/null")  # a character device, like any camera

    def pull_out(self):
        self.path.unlink()
