"""Cameras of the machine itself: by Video4Linux, by GStreamer, by the Raspberry Pi's picamera2."""

import importlib
import os
import sys
from pathlib import Path
from typing import Any, Final

import cv2

from camrt.errors import MissingExtra, SourceError, UsageError
from camrt.images import Image
from camrt.runtime.sources.capture import Capture
from camrt.runtime.sources.v4l2 import device_files

_WIDTH, _HEIGHT, _FPS = 1280, 720, 30
ASKED: Final = f"MJPG {_WIDTH}x{_HEIGHT} at {_FPS} fps"
"""What a camera is asked for; it gives the nearest that it has."""


def open_camera(device: int | str) -> Capture:
    """Open a camera by number or device file.

    Raises:
        SourceError: there is none, or it cannot be opened; the message says which there are.
    """
    if sys.platform == "linux":
        path = Path(f"/dev/video{device}" if isinstance(device, int) else device)
        if not path.exists():
            found = ", ".join(map(str, device_files())) or "none"
            raise SourceError(f"no camera {device} ({path}); found: {found}. Plug it in, or name another with --source")
        if not os.access(path, os.R_OK | os.W_OK):
            raise SourceError(
                f"camera {path} may not be opened by this user; add the user to its group (often 'video')"
            )
        capture = cv2.VideoCapture(str(path), cv2.CAP_V4L2)
    else:
        capture = cv2.VideoCapture(device, cv2.CAP_ANY)
    if not capture.isOpened():
        raise SourceError(f"camera {device} cannot be opened; another program may hold it, or it is no video device")
    # Raw YUYV is all that USB has room for at 5 to 10 fps; MJPG must be asked for before the size (opencv#9540).
    # A camera without it keeps its own format, and takes the nearest size it has.
    capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
    capture.set(cv2.CAP_PROP_FRAME_WIDTH, _WIDTH)
    capture.set(cv2.CAP_PROP_FRAME_HEIGHT, _HEIGHT)
    capture.set(cv2.CAP_PROP_FPS, _FPS)
    return capture


def check_gstreamer(pipeline: str) -> None:
    """Say now what trying again would not mend.

    Raises:
        MissingExtra: this OpenCV was built without GStreamer, as all of pip's are.
        UsageError: the pipeline does not end where OpenCV takes the pictures from.
    """
    if "appsink" not in pipeline.rpartition("!")[2]:
        raise UsageError("the GStreamer pipeline must end in appsink: gst:v4l2src ! videoconvert ! appsink")
    if not _has_gstreamer():
        raise MissingExtra(
            f"this OpenCV ({cv2.__version__}, {Path(cv2.__file__).parent}) has no GStreamer, as no wheel of pip has; "
            "use the system's: on a Jetson JetPack's OpenCV, elsewhere apt install python3-opencv, with an environment "
            "that was made with --system-site-packages and has no opencv-python"
        )


def _has_gstreamer() -> bool:
    lines = cv2.getBuildInformation().splitlines()
    return any(line.strip().startswith("GStreamer:") and "YES" in line for line in lines)


def open_gstreamer(name: str, pipeline: str, open_timeout_s: float, read_timeout_s: float) -> Capture:
    """Open a GStreamer pipeline that ends in ``appsink``.

    Raises:
        SourceError: it does not start.
    """
    parameters = [
        *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, round(open_timeout_s * 1000)),
        *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, round(read_timeout_s * 1000)),
    ]
    capture = cv2.VideoCapture(pipeline, cv2.CAP_GSTREAMER, parameters)
    if not capture.isOpened():
        raise SourceError(f"{name} does not start; try it with gst-launch-1.0, and fakesink in place of appsink")
    return capture


def import_picamera2() -> Any:
    """Return picamera2's class of cameras. Raises: MissingExtra: it is not installed."""
    try:
        return importlib.import_module("picamera2").Picamera2
    except ImportError as error:
        raise MissingExtra(
            f"picamera2 cannot be imported ({error}); on Raspberry Pi OS: sudo apt install python3-picamera2, and make "
            "the environment with --system-site-packages. Elsewhere use a camera's number"
        ) from error


class Picamera:
    """The first camera that libcamera knows, as OpenCV would give it."""

    def __init__(self, picamera2: Any, read_timeout_s: float) -> None:
        """Open and start it.

        Args:
            picamera2: what `import_picamera2` returned.
            read_timeout_s: after how many seconds without a picture it counts as lost.

        Raises:
            SourceError: there is none, or another program holds it.
        """
        self._timeout_s = read_timeout_s
        try:
            self._camera = picamera2()
            # libcamera names a format by its bytes from the last to the first: this is BGR in memory.
            main = {"format": "RGB888", "size": (_WIDTH, _HEIGHT)}
            self._camera.configure(
                self._camera.create_video_configuration(main=main, controls={"FrameRate": float(_FPS)})
            )
            self._camera.start()
        except (RuntimeError, IndexError) as error:
            raise SourceError(
                f"picamera2 opens no camera ({error}); rpicam-hello --list-cameras says which there are"
            ) from error
        width, height = self._camera.camera_configuration()["main"]["size"]
        self._properties = {
            cv2.CAP_PROP_FRAME_WIDTH: float(width),
            cv2.CAP_PROP_FRAME_HEIGHT: float(height),
            cv2.CAP_PROP_FPS: float(_FPS),
        }

    def read(self) -> tuple[bool, Image | None]:
        """Wait for the next picture; False: none came in time."""
        try:
            return True, self._camera.wait(self._camera.capture_array("main", wait=False), timeout=self._timeout_s)
        except (TimeoutError, RuntimeError):
            return False, None

    def get(self, propId: int, /) -> float:  # noqa: N803 - OpenCV's name
        """Return width, height or rate; 0 for anything else."""
        return self._properties.get(propId, 0.0)

    def release(self) -> None:
        """Stop the camera and let go of it."""
        self._camera.stop()
        self._camera.close()
