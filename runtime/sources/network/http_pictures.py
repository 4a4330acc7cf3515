"""Pictures over HTTP: a still picture that is asked for again and again, or a stream of pictures (MJPEG)."""

import threading
import time
from typing import Final, Protocol

import cv2

from camrt.errors import SourceError
from camrt.file_kind import kind_of_bytes
from camrt.image_decoding.header import stated_size
from camrt.images import Image, decode_image
from camrt.runtime.sources.network.http_client import HttpAnswer, HttpClient
from camrt.runtime.sources.network.picture_stream import JPEG, MOST_BYTES, PictureStream

MOST_PIXELS: Final = 50_000_000
"""Pixels of the largest picture of a camera; 8K has 33 million. Decoded it takes 150 MB, several times at once."""
_FORMATS: Final = ("JPEG", "PNG", "WebP", "BMP", "GIF", "TIFF", "AVIF", "HEIF")


class Pictures(Protocol):
    """Encoded pictures that follow each other."""

    pause_s: float
    """Seconds between two pictures, besides the time that they take."""
    fps: float
    """Pictures per second; 0: unknown."""

    def next(self, until_s: float) -> bytes | None:
        """Wait for the next picture, until a time of `time.monotonic`; None: the end. Raises: TimeoutError."""

    def interrupt(self) -> None:
        """End the wait of another thread."""

    def close(self) -> None:
        """End the connection."""


class PictureCapture:
    """Pictures with the methods of `cv2.VideoCapture`. Each has its own size, and is turned as its EXIF data say."""

    def __init__(self, pictures: Pictures, open_timeout_s: float, read_timeout_s: float, remark: str) -> None:
        """Wait for the first picture.

        Args:
            pictures: closed by `release`.
            open_timeout_s: seconds after which the first read fails.
            read_timeout_s: seconds without a picture, beyond the regular pause, after which a read fails.
            remark: the remark about the decoder.

        Raises:
            SourceError: no picture came. The message is half a sentence.
        """
        self.pause_s = pictures.pause_s
        """Regular pause between two pictures, in seconds."""
        self.remark = remark
        """The decoder, half a sentence; empty if none was requested."""
        self.interrupt = pictures.interrupt
        self.release = pictures.close
        self._pictures = pictures
        self._read_timeout_s = read_timeout_s
        self._format = ""
        self._problem = f"no picture came within {open_timeout_s:g} s"
        first = self._next(time.monotonic() + open_timeout_s)
        if first is None:
            raise SourceError(self._problem)
        self._newest = first
        self._is_new = True

    def read(self) -> tuple[bool, Image | None]:
        """Wait for the next whole picture; False: the end, or none in time.

        Raises:
            SourceError: the reason; half a sentence.
        """
        if self._is_new:
            self._is_new = False
            return True, self._newest
        image = self._next(time.monotonic() + self.pause_s + self._read_timeout_s)
        if image is None:
            return False, None
        self._newest = image
        return True, image

    def get(self, propId: int, /) -> float:  # noqa: N803 - OpenCV's name
        """Return width, height (pixels), codec or frame rate; 0 for other properties."""
        height, width = self._newest.shape[:2]
        return {
            cv2.CAP_PROP_FRAME_WIDTH: float(width),
            cv2.CAP_PROP_FRAME_HEIGHT: float(height),
            cv2.CAP_PROP_FOURCC: float(
                cv2.VideoWriter.fourcc(*f"{'MJPG' if self._format == 'JPEG' else self._format:<4}"[:4])
            ),
            cv2.CAP_PROP_FPS: self._pictures.fps,
        }.get(propId, 0.0)

    def _next(self, until_s: float) -> Image | None:
        while time.monotonic() < until_s:  # pictures may keep arriving and all be damaged
            try:
                data = self._pictures.next(until_s)
            except TimeoutError:
                return None
            if data is None:
                return None
            try:
                self._check(data)
                return decode_image(data, "the picture")
            except SourceError as error:  # a damaged picture is left out
                self._problem = str(error)
        return None

    def _check(self, data: bytes) -> None:
        """Check format and size of a picture before it is decoded, which may take 3,000 times its bytes.

        Raises:
            SourceError: the picture is none, or of another format than the first one, or too large. The message is
                half a sentence.
        """
        kind = kind_of_bytes(data[:4096]).name.removeprefix("animated ").removesuffix(" sequence")
        if kind not in _FORMATS:
            raise SourceError(f"the picture is {kind}; a camera may send {', '.join(_FORMATS)}")
        if self._format not in ("", kind):
            raise SourceError(f"the picture is {kind}; the first one was {self._format}")
        size = stated_size(data, kind)
        if size is not None and size[0] * size[1] > MOST_PIXELS:
            raise SourceError(f"the picture has {size[0]}x{size[1]} pixels, more than {MOST_PIXELS}")
        self._format = kind


class StillPictures:
    """A still picture at an address, asked for every few seconds."""

    def __init__(self, client: HttpClient, first: bytes, every_s: float, timeout_s: float) -> None:
        """Take the first picture.

        Args:
            client: asks for the next ones.
            first: the first picture.
            every_s: seconds between two requests.
            timeout_s: seconds that one picture may take.
        """
        self.pause_s = every_s
        self.fps = 1.0 / every_s
        self._client = client
        self._first: bytes | None = first
        self._timeout_s = timeout_s
        self._next_s = time.monotonic()
        self._interrupted = threading.Event()

    def next(self, until_s: float) -> bytes | None:
        """Wait until a picture is due, and ask for it.

        Raises:
            SourceError: it did not come. The message is half a sentence.
        """
        data, self._first = self._first, None
        if data is None:
            self._next_s = max(self._next_s, time.monotonic() - self.pause_s) + self.pause_s
            if self._interrupted.wait(max(0.0, self._next_s - time.monotonic())):
                return None
            data = fetch(self._client, self._timeout_s)
        return data

    def interrupt(self) -> None:
        """End the wait for the next request; a request ends by its time-out."""
        self._interrupted.set()

    def close(self) -> None:
        """Each request has closed its connection."""


def fetch(client: HttpClient, timeout_s: float) -> bytes:
    """Ask for a picture, and return its bytes. Raises: SourceError: half a sentence, as in `read_rest`."""
    answer = client.open(timeout_s)
    try:
        return read_rest(answer, answer.read(timeout_s), timeout_s)
    except TimeoutError as error:
        raise SourceError(f"no picture came within {timeout_s:g} s") from error
    except OSError as error:
        raise SourceError("the connection was lost before the picture") from error
    finally:
        answer.close()


def read_rest(answer: HttpAnswer, head: bytes, timeout_s: float) -> bytes:
    """Return a whole body.

    Args:
        answer: its head was read.
        head: the bytes of the body that were read already.
        timeout_s: seconds that the rest may take.

    Raises:
        SourceError: the body is longer than `MOST_BYTES`, or did not come whole or in time. The message is half a
            sentence.
    """
    data = bytearray(head)
    until_s = time.monotonic() + timeout_s
    try:
        if answer.length is None and head.startswith(JPEG):  # some servers do not end the connection either
            return PictureStream(answer, head).next(until_s) or b""
        while more := answer.read(until_s - time.monotonic()):
            data += more
            if len(data) > MOST_BYTES:
                raise SourceError(f"the picture has more than {MOST_BYTES >> 20} MB")
    except TimeoutError as error:
        raise SourceError(f"the picture was not whole within {timeout_s:g} s") from error
    except OSError as error:
        raise SourceError(f"the connection was lost after {len(data)} bytes of the picture") from error
    if answer.length is not None and len(data) < answer.length:
        raise SourceError(f"the picture ended after {len(data)} of {answer.length} bytes")
    return bytes(data)
