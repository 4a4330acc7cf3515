"""Open network streams: pictures over HTTP here, everything else with PyAV or OpenCV."""

import importlib.util
import os
import time
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import cv2

from camrt.errors import SourceError
from camrt.images import Image
from camrt.runtime.sources.capture import Capture, codec_of, frame_count_of
from camrt.runtime.sources.http_client import HttpAnswer, HttpClient, NoHttp
from camrt.runtime.sources.http_pictures import PictureCapture, StillPictures, is_picture, read_rest
from camrt.runtime.sources.picture_stream import JPEG, PictureStream
from camrt.runtime.sources.segments import SegmentCapture, ShownFrames
from camrt.runtime.sources.url import diagnose, encode_credentials, redact

SEGMENT_S: Final = 30.0
"""Seconds without a frame that are no loss of a stream of segments; a segment often has 6 to 10 s."""
_HEAD: Final = 512
_HLS: Final = ("application/vnd.apple.mpegurl", "application/x-mpegurl", "audio/mpegurl", "audio/x-mpegurl")


class NetworkAddress:
    """An address that is opened again and again."""

    def __init__(self, url: str, open_timeout_s: float, read_timeout_s: float, every_s: float, segment_s: float) -> None:
        """Take the address; nothing is sent yet.

        Args:
            url: the address, with its credentials.
            open_timeout_s: seconds after which opening fails.
            read_timeout_s: seconds after which a read fails.
            every_s: seconds between two requests for a still picture.
            segment_s: as ``read_timeout_s``, for streams of segments.
        """
        self._url = encode_credentials(url)
        self._name = redact(url)
        self._open_timeout_s = open_timeout_s
        self._read_timeout_s = read_timeout_s
        self._every_s = every_s
        self._segment_s = max(segment_s, read_timeout_s)
        self._client = HttpClient(url)
        self._shown = ShownFrames()

    def open(self) -> Capture:
        """Open the stream.

        Raises:
            SourceError: the address does not answer or gives no video. Neither the message nor its cause holds
                credentials.
        """
        if not _is_asked_directly(self._url):
            return self._decode(self._read_timeout_s, "")
        try:
            answer = self._client.open(self._open_timeout_s)
        except NoHttp:
            return self._decode(self._read_timeout_s, "")
        except SourceError as error:
            raise SourceError(f"{self._name} cannot be opened: {error}") from None
        try:
            head = _head_of(answer, self._open_timeout_s)
            pictures = self._pictures(answer, head)
        except BaseException:
            answer.close()
            raise
        if pictures is not None:
            return pictures
        answer.close()  # some cameras serve one client at a time
        if head.lstrip(b"\xef\xbb\xbf\r\n").startswith(b"#EXTM3U") or answer.content_type in _HLS:
            capture = self._decode(self._segment_s, "HLS")
            if frame_count_of(capture) is None:
                pause_s = self._segment_s - self._read_timeout_s
                return SegmentCapture(capture, self._shown.new_connection(), pause_s)
            return capture
        return self._decode(self._read_timeout_s, "DASH" if b"<MPD" in head else answer.content_type)

    def _pictures(self, answer: HttpAnswer, head: bytes) -> Capture | None:
        """Return the pictures of an answer; None: it has none."""
        multipart = answer.content_type.startswith("multipart/") or b"content-type: image/" in head.lower()
        if multipart:
            pictures = PictureStream(answer, head)
            return PictureCapture(self._name, pictures, self._open_timeout_s, self._read_timeout_s)
        if head.startswith(JPEG) and answer.length is None:  # one picture or many
            pictures = PictureStream(answer, head)
            until_s = time.monotonic() + self._read_timeout_s
            first = pictures.next(until_s) or b""
            if not pictures.is_single(first, until_s):
                return PictureCapture(self._name, pictures, self._open_timeout_s, self._read_timeout_s)
        elif is_picture(head, answer.content_type):
            first = read_rest(answer, head, self._open_timeout_s)
        else:
            return None
        answer.close()
        still = StillPictures(self._client, first, self._every_s, self._read_timeout_s)
        return PictureCapture(self._name, still, self._open_timeout_s, self._read_timeout_s)
