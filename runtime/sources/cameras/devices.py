"""Open cameras of this machine through Video4Linux, GStreamer or picamera2."""

import importlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2

from camrt.errors import MissingExtra, SourceError, UsageError
from camrt.images import Image
from camrt.runtime.sources.cameras.v4l2 import device_files
from camrt.runtime.sources.options import SourceOptions
from camrt.video_decoding.capture import Capture

_SIZE: Final = (1280, 720)
_FPS: Final = 30.0


@dataclass(frozen=True, slots=True)
class CameraMode:
    """Size and frame rate that a camera is set to; it delivers the nearest mode that it has."""

    width: int
    height: int
    """In pixels."""
    fps: float

    @classmethod
    def requested(cls, options: SourceOptions) -> "CameraMode":
        """Return the mode that options state; 1280x720 at 30 fps where they state none."""
        return cls(*(options.size or _SIZE), options.fps or _FPS)

    def __str__(self) -> str:
        return f"{self.width}x{self.height} at {self.fps:g} fps"


def open_camera(device: int | str, mode: CameraMode) -> Capture:
    """Open a camera by number or device file, and set its mode.

    Raises:
        SourceError: there is no such camera, or it cannot be opened. The message lists the cameras of this machine.
    """
    if sys.platform == "linux":
        path = Path(f"/dev/video{device}" if isinstance(device, int) else device)
        if not path.exists():
            devices = ", ".join(map(str, device_files())) or "none"
            raise SourceError(
                f"no camera {device} ({path}); this machine has: {devices}. Plug it in, or name another with --source"
            )
        if not os.access(path, os.R_OK | os.W_OK):
            raise SourceError(
                f"this user may not open camera {path}; add the user to the group of the device (often 'video')"
            )
        capture = cv2.VideoCapture(str(path), cv2.CAP_V4L2)
    else:
        capture = cv2.VideoCapture(device, cv2.CAP_ANY)
    if not capture.isOpened():
        raise SourceError(f"camera {device} cannot be opened; another program may use it, or it is no video device")
    # USB 2 carries raw YUYV of this size at 5 to 10 fps only. MJPG must be set before the size (opencv#9540).
    # A camera without MJPG keeps its own format and takes its nearest size.
    capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
    capture.set(cv2.CAP_PROP_FRAME_WIDTH, mode.width)
    capture.set(cv2.CAP_PROP_FRAME_HEIGHT, mode.height)
    capture.set(cv2.CAP_PROP_FPS, mode.fps)
    return capture


def check_gstreamer(pipeline: str) -> None:
    """Check everything about a pipeline that another attempt would not change.

    Raises:
        MissingExtra: this OpenCV was built without GStreamer, as all wheels on PyPI are.
        UsageError: the pipeline does not end in ``appsink``, where OpenCV reads.
    """
    if "appsink" not in pipeline.rpartition("!")[2]:
        raise UsageError("the GStreamer pipeline must end in appsink: gst:v4l2src ! videoconvert ! appsink")
    if not _has_gstreamer():
        raise MissingExtra(
            f"this OpenCV ({cv2.__version__}, {Path(cv2.__file__).parent}) has no GStreamer; no wheel on PyPI has it. "
            "Use the OpenCV of JetPack on a Jetson, elsewhere apt install python3-opencv. Create the environment with "
            "--system-site-packages and without opencv-python"
        )


def _has_gstreamer() -> bool:
    lines = cv2.getBuildInformation().splitlines()
    return any(line.strip().startswith("GStreamer:") and "YES" in line for line in lines)


def open_gstreamer(name: str, pipeline: str, open_timeout_s: float, read_timeout_s: float) -> Capture:
    """Open a GStreamer pipeline that ends in ``appsink``.

    Raises:
        SourceError: the pipeline does not start.
    """
    parameters = [
        *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, round(open_timeout_s * 1000)),
        *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, round(read_timeout_s * 1000)),
    ]
    capture = cv2.VideoCapture(pipeline, cv2.CAP_GSTREAMER, parameters)
    if not capture.isOpened():
        raise SourceError(f"{name} does not start; test it with gst-launch-1.0 and fakesink in place of appsink")
    return capture


def import_picamera2() -> Any:
    """Return the class ``picamera2.Picamera2``. Raises: MissingExtra: picamera2 cannot be imported."""
    try:
        return importlib.import_module("picamera2").Picamera2
    except ImportError as error:
        raise MissingExtra(
            f"picamera2 cannot be imported ({error}); on Raspberry Pi OS: sudo apt install python3-picamera2, and "
            "create the environment with --system-site-packages. On other machines use the number of the camera"
        ) from error


class Picamera:
    """The first libcamera camera, with the methods of `cv2.VideoCapture`."""

    def __init__(self, picamera2: Any, mode: CameraMode, read_timeout_s: float) -> None:
        """Open and start the camera.

        Args:
            picamera2: the result of `import_picamera2`.
            mode: size and frame rate to set.
            read_timeout_s: seconds after which a read fails.

        Raises:
            SourceError: there is no camera, or another program uses it.
        """
        self._timeout_s = read_timeout_s
        try:
            self._camera = picamera2()
            # libcamera's RGB888 is BGR in memory: its names list the bytes from the last to the first.
            main = {"format": "RGB888", "size": (mode.width, mode.height)}
            self._camera.configure(self._camera.create_video_configuration(main=main, controls={"FrameRate": mode.fps}))
            self._camera.start()
        except (RuntimeError, IndexError) as error:
            raise SourceError(
                f"picamera2 cannot open a camera ({error}); rpicam-hello --list-cameras lists the cameras"
            ) from error
        width, height = self._camera.camera_configuration()["main"]["size"]
        self._properties = {
            cv2.CAP_PROP_FRAME_WIDTH: float(width),
            cv2.CAP_PROP_FRAME_HEIGHT: float(height),
            cv2.CAP_PROP_FPS: mode.fps,
        }

    def read(self) -> tuple[bool, Image | None]:
        """Wait for the next image; False: none came in time."""
        try:
            return True, self._camera.wait(self._camera.capture_array("main", wait=False), timeout=self._timeout_s)
        except (TimeoutError, RuntimeError):
            return False, None

    def get(self, propId: int, /) -> float:  # noqa: N803 - OpenCV's name
        """Return width, height (pixels) or frame rate; 0 for other properties."""
        return self._properties.get(propId, 0.0)

    def release(self) -> None:
        """Stop and release the camera."""
        self._camera.stop()
        self._camera.close()
