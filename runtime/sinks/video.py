"""A video file of the overlays."""

import shutil
from pathlib import Path
from typing import Final

import cv2

from camrt.errors import SinkError, UsageError
from camrt.runtime.fitting import fitted
from camrt.runtime.frames import Rendered
from camrt.runtime.sinks.output import hidden_beside, refuse_existing
from camrt.runtime.sources.capture import frame_count_of, quiet_decoders

CODECS: Final = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}
"""What every OpenCV wheel can write; H.264 is in none of them."""
DEFAULT_FPS: Final = 25.0
RESERVE: Final = 8 * 2**20
"""Bytes that stay free on the disk, so that the video can still be finished: its index is written last."""


class VideoSink:
    """Writes every overlay to a video. It appears under its name in `close`, whole and checked, or not at all.

    The first frame settles the size. Codecs want even sides: an odd one has its last row or column repeated. Later
    frames of another size are fitted into it, with black bars.
    """

    def __init__(self, path: Path, *, fps: float | None, overwrite: bool = False) -> None:
        """Claim the file.

        Args:
            path: where to; the suffix chooses the container.
            fps: frame rate; None: 25.
            overwrite: an old file may be replaced.

        Raises:
            UsageError: the suffix is unknown, or the file exists.
            SinkError: nothing can be written there.
        """
        if path.suffix.lower() not in CODECS:
            raise UsageError(f"{path}: the suffix chooses the kind of video; known are {' '.join(CODECS)}")
        refuse_existing(path, overwrite=overwrite)
        self._path = path.absolute()  # FFmpeg takes what stands before a colon for a protocol
        self._part = hidden_beside(self._path)
        self._fps = DEFAULT_FPS if fps is None else fps
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)  # width, height
        self._frames = 0
        self._closed = False
        quiet_decoders()
        try:
            self._part.open("wb").close()
        except OSError as error:
            raise SinkError(f"{path} cannot be written: {error.strerror}") from error

    def write(self, rendered: Rendered) -> None:
        """Append one overlay.

        Raises:
            SinkError: the disk is all but full, and what there is will be finished; or the encoder refuses the size.
        """
        if shutil.disk_usage(self._part.parent).free < RESERVE:
            raise SinkError(
                f"{self._path}: less than {RESERVE // 2**20} MiB are left on the disk; "
                f"the video ends after {self._frames} frames. Free some space"
            )
        if self._writer is None:
            height, width = rendered.image.shape[:2]
            self._size = (width + width % 2, height + height % 2)
            self._writer = self._open()
        self._writer.write(fitted(rendered.image, *self._size))
        self._frames += 1

    def close(self) -> None:
        """Finish the video, check it and give it its name. Without a frame there is no file.

        Raises:
            SinkError: it is not whole, as after a full disk; nothing is left of it.
        """
        if self._closed:
            return
        self._closed = True
        try:
            if self._writer is not None:
                self._writer.release()
                self._check()
                self._part.replace(self._path)
        except OSError as error:
            raise SinkError(f"{self._path} cannot be written: {error.strerror}") from error
        finally:
            self._part.unlink(missing_ok=True)

    def _open(self) -> cv2.VideoWriter:
        codec = cv2.VideoWriter.fourcc(*CODECS[self._path.suffix.lower()])
        writer = cv2.VideoWriter(str(self._part), cv2.CAP_FFMPEG, codec, self._fps, self._size)
        if not writer.isOpened():
            width, height = self._size
            raise SinkError(f"{self._path}: OpenCV cannot write a video of {width}x{height} at {self._fps:g} fps")
        return writer

    def _check(self) -> None:
        """Count the frames as the file's index states them: VideoWriter keeps every failure to itself."""
        video = cv2.VideoCapture(str(self._part), cv2.CAP_FFMPEG)
        found = frame_count_of(video) or 0
        video.release()
        if found != self._frames:
            raise SinkError(
                f"{self._path}: of {self._frames} frames {found} could be written, so there is no video. "
                "Is the disk full, or a limit on file size reached?"
            )
