"""Videos as OpenCV's wheels can write them: MPEG-4 part 2, which players show and browsers do not."""

from contextlib import suppress
from pathlib import Path
from typing import Final

import cv2

from camrt.errors import DiskFull, SinkError
from camrt.images import Image
from camrt.runtime.sources.capture import frame_count_of

CODECS: Final = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}
"""What every OpenCV wheel can write; H.264 is in none of them."""


def is_whole(path: Path) -> bool:
    """Tell whether a video was closed: only then it says how many frames it has."""
    return _frames_in(path) > 0


def _frames_in(path: Path) -> int:
    video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    frames = frame_count_of(video) or 0
    video.release()
    return frames


class OpenCvVideo:
    """One video file. Its index is written last: without `close` it cannot be played."""

    def __init__(self, path: Path, name: Path, width: int, height: int, fps: float) -> None:
        """Begin a video.

        Args:
            path: the file, absolute; its suffix chooses the container.
            name: what to call it in errors.
            width: of the frames, in pixels, even.
            height: of the frames, in pixels, even.
            fps: frame rate.

        Raises:
            SinkError: OpenCV cannot write such a video.
        """
        self._path = path
        self._name = name
        self._frames = 0
        self._removed = False
        codec = cv2.VideoWriter.fourcc(*CODECS[path.suffix.lower()])
        self._writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, fps, (width, height))
        if not self._writer.isOpened():
            raise SinkError(f"{name}: OpenCV cannot write a video of {width}x{height} at {fps:g} fps")

    def write(self, image: Image, time_s: float) -> None:
        """Append a frame, uint8 (H, W, 3) BGR; all last equally long, whatever ``time_s`` says."""
        self._writer.write(image)
        self._frames += 1

    @property
    def size(self) -> int:
        """Bytes on the disk so far."""
        return self._path.stat().st_size

    def close(self) -> bool:
        """Finish the video and check it, for VideoWriter keeps every failure to itself.

        Returns: there is something to play; False after an error.

        Raises:
            DiskFull: it is not whole, and removed.
        """
        if self._removed:
            return False
        self._writer.release()
        found = _frames_in(self._path)
        if found != self._frames:
            self._removed = True
            with suppress(OSError):  # the error to tell is the other one
                self._path.unlink()
            raise DiskFull(
                f"{self._name}: of {self._frames} frames {found} could be written, so there is no video. "
                "Is the disk full, or a limit on file size reached?"
            )
        return True
