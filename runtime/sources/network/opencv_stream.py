"""Read a network stream with OpenCV, where PyAV is not installed."""

import time
from typing import Final

import cv2
import numpy as np

from camrt.errors import SourceError
from camrt.images import Image
from camrt.text import is_utf8
from camrt.video_decoding.capture import codec_of, frame_count_of
from camrt.video_decoding.opencv_file import not_converted, retrieve_first

_SUSPICIOUS: Final = 3  # frames; no camera gives so many of the one colour that counts as not written


class OpencvStream:
    """A network stream that is read with `cv2.VideoCapture`.

    OpenCV 4.13 and 5.0 return True for frames that they could not convert, above all interlaced ones; such a frame is
    memory that was never written. The first frame is tested for that. A later one equals the frame before, and OpenCV
    gives no access to what was decoded, so it cannot be told from a still picture.
    """

    def __init__(self, url: str, open_timeout_s: float, read_timeout_s: float, remark: str = "") -> None:
        """Open the stream.

        Args:
            url: the address, with its credentials.
            open_timeout_s: seconds after which opening fails.
            read_timeout_s: seconds after which a read fails.
            remark: the remark about the decoder.

        Raises:
            SourceError: it cannot be opened; the message is empty, because OpenCV tells no reason.
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
        if not is_utf8(url):  # OpenCV 4 and 5 end the process: a segmentation fault
            raise SourceError("OpenCV opens no address that is not UTF-8")
        self._capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG, parameters)
        if not self._capture.isOpened():
            raise SourceError
        self.get = self._capture.get
        self.release = self._capture.release
        self._read_timeout_s = read_timeout_s
        self.remark = remark
        """The decoder, half a sentence; empty if none was requested."""
        self._proven = False
        # FFmpeg in OpenCV would scale every JPEG to the size of the first, so the JPEGs are decoded here.
        self._encoded = (
            frame_count_of(self._capture) is None
            and codec_of(self._capture) == "MJPG"
            and self._capture.set(cv2.CAP_PROP_FORMAT, -1)
        )

    def read(self) -> tuple[bool, Image | None]:
        """Wait for the next image; False: the stream ended or was lost. Raises: SourceError: half a sentence."""
        if self._encoded:
            return self._read_jpeg()
        if not self._proven:
            return self._read_proven()
        more, image = self._capture.read()
        return more, np.asarray(image, np.uint8) if more else None

    def _read_proven(self) -> tuple[bool, Image | None]:
        for _ in range(_SUSPICIOUS):
            image, written = retrieve_first(self._capture) if self._capture.grab() else (None, None)
            if image is None or written is not False:
                self._proven = image is not None
                return self._proven, image
        raise not_converted(self._capture, 0)

    def _read_jpeg(self) -> tuple[bool, Image | None]:
        until_s = time.monotonic() + self._read_timeout_s
        while time.monotonic() < until_s:  # images may keep arriving and all be damaged
            more, data = self._capture.read()
            if not more:
                break
            image = cv2.imdecode(np.asarray(data), cv2.IMREAD_COLOR)
            if image is not None:  # a damaged image is skipped
                return True, np.asarray(image, np.uint8)
        return False, None
