"""Open network streams."""

import time

import cv2

from camrt.errors import SourceError
from camrt.images import Image
from camrt.runtime.sources.capture import Capture, codec_of, frame_count_of
from camrt.runtime.sources.url import diagnose, redact


class _JpegStream:
    """A stream of JPEGs, decoded here: FFmpeg in OpenCV would scale every image to the size of the first."""

    def __init__(self, capture: cv2.VideoCapture, read_timeout_s: float) -> None:
        self._capture = capture
        self._read_timeout_s = read_timeout_s
        self.get = capture.get
        self.release = capture.release

    def read(self) -> tuple[bool, Image | None]:
        until_s = time.monotonic() + self._read_timeout_s
        while time.monotonic() < until_s:  # images may keep arriving and all be damaged
            more, data = self._capture.read()
            if not more:
                break
            image = cv2.imdecode(data, cv2.IMREAD_COLOR)
            if image is not None:  # a damaged image is skipped
                return True, image  # type: ignore[return-value]
        return False, None


def open_url(url: str, open_timeout_s: float, read_timeout_s: float) -> Capture:
    """Open a network stream; give up after ``open_timeout_s`` seconds.

    Args:
        url: the address, with its credentials.
        open_timeout_s: seconds after which opening fails.
        read_timeout_s: seconds after which a read fails.

    Raises:
        SourceError: the address does not answer or gives no video. Neither the message nor its cause holds credentials.
    """
    # One decoder thread: FFmpeg's default is one per core, and every thread but the first delays the stream by one
    # frame. FFmpeg's options nobuffer and low_delay are not set: with nobuffer frames came 0.2 s later, not sooner;
    # low_delay made no difference on RTSP and dropped a quarter of a video's frames over HTTP. RTSP uses TCP if the
    # camera can (OpenCV's default since 4.5.5, opencv#21558); set OPENCV_FFMPEG_CAPTURE_OPTIONS for other cameras.
    parameters = [
        *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, round(open_timeout_s * 1000)),
        *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, round(read_timeout_s * 1000)),
        *(cv2.CAP_PROP_N_THREADS, 1),
    ]
    start_s = time.monotonic()
    capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG, parameters)
    if not capture.isOpened():
        timed_out = time.monotonic() - start_s >= 0.9 * open_timeout_s
        reason = f"no answer within {open_timeout_s:g} s" if timed_out else diagnose(url)
        raise SourceError(f"{redact(url)} cannot be opened: {reason}")
    stream = frame_count_of(capture) is None
    if stream and codec_of(capture) == "MJPG" and capture.set(cv2.CAP_PROP_FORMAT, -1):  # undecoded
        return _JpegStream(capture, read_timeout_s)
    return capture
