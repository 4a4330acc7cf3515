"""Write videos with OpenCV: MPEG-4 part 2, which media players support and browsers do not."""

from contextlib import suppress
from pathlib import Path
from typing import Final

import cv2

from camrt.errors import DiskFull, SinkError
from camrt.images import Image
from camrt.video_decoding.capture import frame_count_of

CODECS: Final = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}
"""Codec of each suffix that every OpenCV wheel can write; no wheel has H.264."""

_MOST_UNEVEN: Final = 1.5
"""Frame times by which a frame may be early or late; the rate in a header is rounded."""


def is_whole(path: Path) -> bool:
    """Return whether a video was closed; only then its header states a number of frames."""
    return _frames_in(path) > 0


def _frames_in(path: Path) -> int:
    video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    frames = frame_count_of(video) or 0
    video.release()
    return frames


class OpenCvVideo:
    """One video file. `close` writes its index; without it the file cannot be played."""

    def __init__(self, path: Path, name: Path, width: int, height: int, fps: float) -> None:
        """Start a video.

        Args:
            path: the file, absolute; its suffix selects the container.
            name: name of the video in errors.
            width: width of the frames, in pixels, even.
            height: height of the frames, in pixels, even.
            fps: frame rate.

        Raises:
            SinkError: OpenCV cannot write such a video.
        """
        self._path = path
        self._name = name
        self._fps = fps
        self._uneven = False
        self._frames = 0
        self._removed = False
        codec = cv2.VideoWriter.fourcc(*CODECS[path.suffix.lower()])
        self._writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, fps, (width, height))
        if not self._writer.isOpened():
            raise SinkError(f"{name}: OpenCV cannot write a video of {width}x{height} at {fps:g} fps")

    @property
    def problems(self) -> list[str]:
        """One line if the times of the frames were lost."""
        return [f"{self._name}: its frames are spread evenly, not at their times"] if self._uneven else []

    def write(self, image: Image, time_s: float, lasts_s: float = 0.0) -> None:
        """Append a frame, uint8 (H, W, 3) BGR; the frame rate is constant, and the times are ignored."""
        self._uneven = self._uneven or abs(time_s - self._frames / self._fps) > _MOST_UNEVEN / self._fps
        self._writer.write(image)
        self._frames += 1

    @property
    def size(self) -> int:
        """Size of the file so far, in bytes."""
        return self._path.stat().st_size

    def close(self) -> bool:
        """Finish the video and count its frames, because `cv2.VideoWriter` reports no failure.

        Returns: True if the file can be played; False after an error.

        Raises:
            DiskFull: frames are missing; the file was removed.
        """
        if self._removed:
            return False
        self._writer.release()
        readable = _frames_in(self._path)
        if readable != self._frames:
            self._removed = True
            with suppress(OSError):  # the error below matters more
                self._path.unlink()
            raise DiskFull(
                f"{self._name}: only {readable} of {self._frames} frames could be written, so the video was removed. "
                "Check the free disk space and the limit on file sizes"
            )
        return True
