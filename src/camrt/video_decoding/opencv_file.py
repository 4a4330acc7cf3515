"""Read a video file with OpenCV, where PyAV is not installed."""

import re
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from camrt.errors import SourceError
from camrt.file_kind import kind_of_bytes
from camrt.images import Image
from camrt.text import is_utf8
from camrt.video_decoding.capture import DEFAULT_FPS, MOST_DAMAGED, codec_of, fps_of
from camrt.video_decoding.mp4_header import mp4_header
from camrt.video_decoding.poisoned_memory import poisoned_memory
from camrt.video_decoding.square_pixels import square_size

_POISONS: Final = (0xA5, 0x3C)
_FREE_FRAMES: Final = 200  # may be decoded twice to prove the first repeated frames
_LONGEST_S: Final = 1e9  # a greater time is a calculation with a missing one
_CODECS: Final = {"AV01": "AV1", "VP90": "VP9", "VP80": "VP8", "HVC1": "HEVC", "HEV1": "HEVC", "AVC1": "H.264"}
_HEAD_BYTES: Final = 1_000_000
_SOUNDS: Final = {"AVI": rb"auds", "Matroska or WebM": rb"A_(AAC|E?AC3|ALAC|DTS|FLAC|MPEG|MS|OPUS|PCM|TRUEHD|VORBIS)"}
"""Bytes in the first part of a file that has sound."""
_SILENT: Final = ("GIF", "H.264 or H.265", "Y4M", "IVF", "MPEG-4", "series of JPEGs", "JPEG")
_TURNS: Final = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


class OpencvFile:
    """A video file that is read with `cv2.VideoCapture`; frames are upright and have square pixels.

    OpenCV 4.13 and 5.0 return True for a frame that they could not convert, above all an interlaced one. The frame is
    then what was in the buffer: the frame before, or memory that belonged to another video. So the first buffer is
    filled with a known value, and the first frame must differ from it. A later frame that equals the one before is read
    again, into a new buffer. That costs decoding at most each frame twice.
    """

    def __init__(self, path: Path, remark: str = "") -> None:
        """Open a video.

        Args:
            path: the file.
            remark: the remark about the decoder.

        Raises:
            SourceError: OpenCV cannot open it; half a sentence.
        """
        self.damaged = 0
        """Damaged frames since the newest one that `read` returned, or since the start."""
        self.failure = ""
        """Reason why `read` returned False; empty at the regular end."""
        self.remark = remark
        """The decoder, half a sentence; empty if none was requested."""
        self.lasts_s = 0.0
        """Seconds that the newest frame is shown; OpenCV does not state it."""
        self.reached_end = False
        """Not known with OpenCV."""
        if not is_utf8(str(path.absolute())):  # OpenCV 4 and 5 end the process: a segmentation fault
            raise SourceError("OpenCV opens no path that is not UTF-8; rename it, or pip install 'camrt[video]'")
        self._path = path
        self._capture = self._open()
        if not self._capture.isOpened():
            raise SourceError("it is truncated or damaged, or OpenCV has no decoder for it")
        self._index = -1  # of the newest frame
        self._previous: Image | None = None
        self._time_s = 0.0
        self._decoded_twice = 0
        self._converts = False  # a frame differed from the one before
        aspect = [int(self._capture.get(side)) for side in (cv2.CAP_PROP_SAR_NUM, cv2.CAP_PROP_SAR_DEN)]
        self._aspect = Fraction(*aspect) if min(aspect) > 0 else None
        self._turn = _TURNS.get(round(self._capture.get(cv2.CAP_PROP_ORIENTATION_META)) % 360)

    def read(self) -> tuple[bool, Image | None]:
        """Return the next frame, uint8 (H, W, 3) BGR; False at the end.

        Raises:
            SourceError: OpenCV decoded a frame and did not convert it.
        """
        for self.damaged in range(MOST_DAMAGED):
            if self._capture.grab():
                self._index += 1
                image = self._retrieve()
                if image is not None:
                    self._set_time()
                    return True, self._upright(image)
        self.damaged = 0  # the end looks like damage
        if self._index < 0:
            self.failure = self._undecodable()
        return False, None

    def get(self, propId: int, /) -> float:  # noqa: N803 - OpenCV's name
        """Return the property with this OpenCV number; frames that an edit list hides are not counted."""
        if propId == cv2.CAP_PROP_POS_MSEC:
            return self._time_s * 1000
        value: float = self._capture.get(propId)
        header = mp4_header(self._path) if propId == cv2.CAP_PROP_FRAME_COUNT else None
        if header is not None and header.shown_s is not None:
            return min(value, header.shown_s * (fps_of(self._capture) or value))
        return value

    @property
    def start_s(self) -> float | None:
        """Not known with OpenCV."""
        return None

    @property
    def has_sound(self) -> bool | None:
        """The file has sound, as far as its first bytes tell; None: unknown."""
        if (header := mp4_header(self._path)) is not None:
            return header.has_sound
        with self._path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
        kind = kind_of_bytes(head).name
        if kind in _SOUNDS:
            return re.search(_SOUNDS[kind], head) is not None
        return False if kind in _SILENT else None

    def release(self) -> None:
        """Close the file."""
        self._capture.release()

    def _open(self) -> cv2.VideoCapture:
        # Absolute, because FFmpeg takes the text before a colon for a protocol.
        capture = cv2.VideoCapture(str(self._path.absolute()), cv2.CAP_FFMPEG)
        # OpenCV turns by 180 degrees within its buffer, so a buffer that is never written would change.
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)
        return capture

    def _retrieve(self) -> Image | None:
        """Return the newest frame as it was decoded, after it was proven to be one. Raises: SourceError."""
        if self._previous is None:
            image, written = retrieve_first(self._capture, _POISONS[0])
            suspicious = written is False
        else:
            more, raw = self._capture.retrieve()
            image = np.asarray(raw, np.uint8) if more else None
            equal = image is not None and _are_equal(image, self._previous)
            self._converts = self._converts or not equal
            suspicious = equal and self._may_decode_twice()
        if image is not None and suspicious and not self._is_written():
            raise not_converted(self._capture, self._index)
        self._previous = self._previous if image is None else image
        return image

    def _set_time(self) -> None:
        """Take the time of the newest frame; OpenCV has none for raw H.264 and for the last frames of MPEG."""
        time_s = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000.0
        if self._index == 0:
            self._time_s = time_s if 0.0 <= time_s < _LONGEST_S else 0.0
        elif self._time_s < time_s < _LONGEST_S:
            self._time_s = time_s
        else:
            self._time_s += 1.0 / (fps_of(self._capture) or DEFAULT_FPS)

    def _may_decode_twice(self) -> bool:
        """Return whether all frames up to the newest may be decoded again, so that the sum stays below twice all."""
        if self._decoded_twice > self._index + _FREE_FRAMES:
            return False
        self._decoded_twice += self._index
        return True

    def _is_written(self) -> bool:
        """Return whether OpenCV writes the newest frame into a new buffer, whatever was in it before.

        Where memory cannot be filled, return whether any frame differed from the one before.
        """
        for poison in _POISONS:
            capture = self._open()
            missing, failures = self._index + 1, 0
            while missing and failures < MOST_DAMAGED:
                missing, failures = (missing - 1, 0) if capture.grab() else (missing, failures + 1)
            image, written = retrieve_first(capture, poison)
            capture.release()
            if image is not None and written is not False:
                return written or self._converts
        return False

    def _upright(self, image: Image) -> Image:
        height, width = image.shape[:2]
        size = square_size(width, height, self._aspect)
        if size != (width, height):
            image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), np.uint8)
        return image if self._turn is None else np.asarray(cv2.rotate(image, self._turn), np.uint8)

    def _undecodable(self) -> str:
        codec = codec_of(self._capture)
        name = _CODECS.get(codec, codec) or "unknown"
        return (
            f"OpenCV {cv2.__version__} decodes none of its frames ({name} video): it has no such decoder, or the file "
            "is damaged; pip install 'camrt[video]' reads more codecs"
        )


def retrieve_first(capture: cv2.VideoCapture, poison: int = _POISONS[0]) -> tuple[Image | None, bool | None]:
    """Convert the first frame that was grabbed, in a buffer that is filled with a known value.

    Returns: the frame, uint8 (H, W, 3) BGR, None if there is none; and whether OpenCV wrote it, None if memory cannot
        be filled. A frame of one colour, the known value, counts as not written.
    """
    with poisoned_memory(poison) as poisoned:
        more, image = capture.retrieve()
    if not more:
        return None, None
    frame = np.asarray(image, np.uint8)
    return frame, not bool((frame == poison).all()) if poisoned else None


def not_converted(capture: cv2.VideoCapture, index: int) -> SourceError:
    """Return the error for a frame that OpenCV decoded and did not convert; half a sentence, without a name."""
    return SourceError(
        f"OpenCV {cv2.__version__} cannot convert frame {index} of this {codec_of(capture)} video, "
        "because it is interlaced or states unusual colours; pip install 'camrt[video]' reads it"
    )


def _are_equal(image: Any, other: Image) -> bool:
    """Compare two frames; a few of their pixels tell most frames apart, in a hundredth of the time."""
    return np.array_equal(image[::16, ::16], other[::16, ::16]) and np.array_equal(image, other)
