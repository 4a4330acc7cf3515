"""Open network streams: pictures over HTTP here, everything else with PyAV or OpenCV."""

import os
import time
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from camrt.errors import SourceError
from camrt.file_kind import kind_of_bytes
from camrt.runtime.sources.network.http_client import HttpAnswer, HttpClient, NoHttp
from camrt.runtime.sources.network.http_pictures import PictureCapture, Pictures, StillPictures, read_rest
from camrt.runtime.sources.network.opencv_stream import OpencvStream
from camrt.runtime.sources.network.picture_stream import JPEG, PictureStream
from camrt.runtime.sources.network.segments import SegmentCapture, ShownFrames
from camrt.runtime.sources.network.url import diagnose, encode_credentials, listens, redact
from camrt.video_decoding.capture import Capture, frame_count_of, has_pyav
from camrt.video_decoding.hardware_devices import SOFTWARE, software_remark

_HEAD: Final = 512  # bytes: enough for a kind, and few enough for the first part of an MJPEG stream
_HLS: Final = ("application/vnd.apple.mpegurl", "application/x-mpegurl", "audio/mpegurl", "audio/x-mpegurl")


class NetworkAddress:
    """An address that is opened again and again."""

    def __init__(
        self,
        url: str,
        *,
        open_timeout_s: float,
        read_timeout_s: float,
        segments_timeout_s: float,
        every_s: float,
        decode: str = SOFTWARE,
    ) -> None:
        """Take the address; nothing is sent yet.

        Args:
            url: the address, with its credentials.
            open_timeout_s: seconds after which opening fails.
            read_timeout_s: seconds after which a read fails.
            segments_timeout_s: as ``read_timeout_s``, for streams of segments (HLS).
            every_s: seconds between two requests for a still picture.
            decode: the decoder, see `camrt.video_decoding.hardware_devices.choose_device`.
        """
        self._url = encode_credentials(url)
        self._name = redact(url)
        self._open_timeout_s = open_timeout_s
        self._read_timeout_s = read_timeout_s
        self._every_s = every_s
        self._decoder = decode
        self._segments_timeout_s = segments_timeout_s
        self._client = HttpClient(url)
        self._shown = ShownFrames()
        self.is_still = False
        """The address gave one picture when it was opened last."""

    def open(self) -> Capture:
        """Open the stream.

        Raises:
            SourceError: the address does not answer or gives no video. Neither the message nor its cause holds
                credentials.
        """
        self.is_still = False
        if not _is_asked_directly(self._url):
            return self._decode(self._read_timeout_s)
        try:
            answer = self._client.open(self._open_timeout_s)
        except NoHttp:
            return self._decode(self._read_timeout_s)
        except SourceError as error:
            raise SourceError(f"{self._name} cannot be opened: {error}") from None
        try:
            head = _head_of(answer, self._open_timeout_s)
            pictures = self._pictures(answer, head)
        except SourceError as error:
            answer.close()
            raise SourceError(f"{self._name} cannot be opened: {error}") from error
        except BaseException:
            answer.close()
            raise
        if pictures is not None:
            return pictures
        answer.close()  # some cameras serve one client at a time
        return self._video(head, answer.content_type)

    def _video(self, head: bytes, content_type: str) -> Capture:
        """Open an address that is no picture with a decoder, which asks for it again."""
        if head.lstrip(b"\xef\xbb\xbf\r\n").startswith(b"#EXTM3U") or content_type in _HLS:
            capture = self._decode(self._segments_timeout_s)
            if frame_count_of(capture) is None:
                pause_s = self._segments_timeout_s - self._read_timeout_s
                return SegmentCapture(capture, self._shown.new_connection(), pause_s)
            return capture
        if b"<MPD" in head or content_type == "application/dash+xml":
            return self._decode(self._read_timeout_s, "its DASH manifest cannot be read; use its HLS or RTSP address")
        kind = kind_of_bytes(head)
        content = f"{kind.name if head else 'no content'} ({content_type or 'no media type'})"
        if kind.kind == "other" and (kind.advice or content_type in ("text/html", "application/json")):
            raise SourceError(f"{self._name} cannot be opened: the server sent {content}; check the path and the user")
        return self._decode(self._read_timeout_s, "" if kind.kind == "video" else f"the server sent {content}")

    def _pictures(self, answer: HttpAnswer, head: bytes) -> Capture | None:
        """Return the pictures of an answer; None: it has none. Raises: SourceError: half a sentence."""
        pictures: Pictures
        if answer.content_type.startswith("multipart/") or b"content-type: image/" in head.lower():
            pictures = PictureStream(answer, head)
        elif head.startswith(JPEG) and answer.length is None:  # one picture or many
            pictures = PictureStream(answer, head)
            until_s = time.monotonic() + self._read_timeout_s
            first = pictures.next(until_s) or b""
            if pictures.is_single(first, until_s):
                pictures = self._still(answer, first)
        elif _is_picture(head, answer.content_type):
            pictures = self._still(answer, read_rest(answer, head, self._open_timeout_s))
        else:
            return None
        remark = software_remark(self._decoder)
        return PictureCapture(pictures, self._open_timeout_s, self._read_timeout_s, remark)

    def _still(self, answer: HttpAnswer, first: bytes) -> StillPictures:
        answer.close()
        self.is_still = True
        return StillPictures(self._client, first, self._every_s, self._read_timeout_s)

    def _decode(self, read_timeout_s: float, note: str = "") -> Capture:
        """Open the address with a decoder; ``note`` is the reason where that fails, if one is known."""
        start_s = time.monotonic()
        try:
            return _open_decoder(self._url, self._open_timeout_s, read_timeout_s, self._decoder)
        except SourceError as error:
            reason = str(error)
        if time.monotonic() - start_s >= 0.9 * self._open_timeout_s:
            reason = f"no answer within {self._open_timeout_s:g} s"
        raise SourceError(f"{self._name} cannot be opened: {note or reason or diagnose(self._url)}")


def _is_asked_directly(url: str) -> bool:
    """Return whether the address is one of HTTP, and no proxy stands before it."""
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    return scheme in ("http", "https") and (scheme not in getproxies() or bool(proxy_bypass(parts.hostname or "")))


def _is_picture(head: bytes, content_type: str) -> bool:
    kind = kind_of_bytes(head)  # a GIF is a video, as everywhere in camrt
    return kind.kind == "image" or kind.animated or (kind.kind == "other" and content_type.startswith("image/"))


def _head_of(answer: HttpAnswer, timeout_s: float) -> bytes:
    """Return the first bytes of a body, `_HEAD` or more if it has as many."""
    head = b""
    until_s = time.monotonic() + timeout_s
    try:
        while len(head) < _HEAD and (more := answer.read(until_s - time.monotonic())):
            head += more
    except TimeoutError:
        pass  # what has come decides
    return head


def _open_decoder(url: str, open_timeout_s: float, read_timeout_s: float, decode: str) -> Capture:
    """Open an address with PyAV if it is installed. Raises: SourceError: half a sentence; empty: unknown reason."""
    if not has_pyav():
        if url.startswith("rtmp") and listens(url):
            raise SourceError("only PyAV listens for RTMP: pip install 'camrt[video]'")
        return OpencvStream(url, open_timeout_s, read_timeout_s, software_remark(decode))
    import av.error

    from camrt.video_decoding.pyav_capture import PyavCapture

    # TCP if the camera can, as in OpenCV: a lost packet of UDP damages frames up to the next key frame.
    options = {"rtsp_flags": "prefer_tcp", "overrun_nonfatal": "1"}
    # The name is OpenCV's, so that one setting serves both.
    pairs = (pair.partition(";") for pair in os.environ.get("OPENCV_FFMPEG_CAPTURE_OPTIONS", "").split("|"))
    options |= {key: value for key, _, value in pairs if key}
    if url.startswith("rtmp") and listens(url):  # an option of this protocol, and no part of its address
        url, options["listen"] = url.partition("?")[0], "1"
    try:
        return PyavCapture(
            url,
            live=True,
            open_timeout_s=open_timeout_s,
            read_timeout_s=read_timeout_s,
            options=options,
            decode=decode,
        )
    except av.error.ProtocolNotFoundError:
        scheme = url.partition(":")[0]
        advice = "use udp:// or rtsp://" if scheme == "srt" else "use another address of the camera"
        reason = f"this decoder (PyAV) has no {scheme}; {advice}"
    except av.error.FFmpegError:  # its message has the address with the credentials
        reason = ""
    raise SourceError(reason)
