"""A video of the overlays, in one file or, where it goes on for hours, in several."""

import shutil
from pathlib import Path
from typing import Final, Protocol

from camrt.errors import DiskFull, SinkError, UsageError
from camrt.files import hidden_beside, left_beside, refuse_existing
from camrt.images import Image
from camrt.runtime.frames import Frame, Rendered
from camrt.runtime.render.letterbox import fitted
from camrt.runtime.sinks.opencv_video import CODECS, OpenCvVideo, is_whole
from camrt.runtime.sinks.rotation import Rotation, Series
from camrt.runtime.sources.capture import quiet_decoders

DEFAULT_FPS: Final = 25.0
RESERVE: Final = 8 * 2**20
"""Bytes that stay free on the disk, so that the video can still be finished: its index is written last."""
LONGEST_S: Final = 3600.0
"""A live video is continued in a new file after so many seconds: the index of a file grows in memory until its end."""
_LONGEST_GAP_S: Final = 60.0
"""Two frames that are further apart, or in the wrong order, were stamped by a clock that was set in between."""


class _Video(Protocol):
    """One file that is being written. `close` says whether there is something to play, and may be called again."""

    @property
    def size(self) -> int: ...
    def write(self, image: Image, time_s: float) -> None: ...
    def close(self) -> bool: ...


def why_not_h264(path: Path) -> str:
    """Return why a video is not written as H.264, which also keeps it from being lost with its process; empty: it is.

    Args:
        path: of the video; its suffix is one of `CODECS`.
    """
    if path.suffix.lower() == ".avi":
        return "videos in .avi are MJPEG, which browsers do not play; name it .mp4"
    try:
        import av  # noqa: F401
    except ImportError:
        return (
            "written as MPEG-4 part 2, which browsers do not play and which is lost when the process is killed; "
            "for H.264: pip install 'camrt[video]'"
        )
    return ""


class VideoSink:
    """Writes every overlay to a video, which appears under its name in `close`.

    With PyAV (extra ``video``) it is H.264. Until `close` it is called ``seen.part.mp4`` for ``seen.mp4``, and can be
    played whatever becomes of the process; a kill costs less than its last second. Without PyAV, and in ``.avi``, it is
    what OpenCV can write, under a hidden name: whole and checked in the end, or not there.

    The first frame settles the size. Codecs want even sides: an odd one has its last row or column repeated. Later
    frames of another size are fitted into it, with black bars. Frames of a live source are shown as long as they were
    live (with PyAV), those of others by the frame rate.

    A live video is continued in a new file each hour (`LONGEST_S`); what is finished is ``seen.000001.mp4`` and so on.
    """

    def __init__(
        self,
        path: Path,
        *,
        fps: float | None,
        overwrite: bool = False,
        live: bool = False,
        rotation: Rotation | None = None,
    ) -> None:
        """Claim the file.

        Args:
            path: where to; the suffix chooses the container.
            fps: frame rate; None: 25.
            overwrite: an old file may be replaced.
            live: it may go on for ever, at a rate of its own.
            rotation: when it is continued in a new file, other than by time; what an earlier run has left is set aside.

        Raises:
            UsageError: the suffix is unknown, or the file exists.
            SinkError: nothing can be written there.
        """
        if path.suffix.lower() not in CODECS:
            raise UsageError(f"{path}: the suffix chooses the kind of video; known are {' '.join(CODECS)}")
        self._path = path.absolute()  # FFmpeg takes what stands before a colon for a protocol
        self._fps = DEFAULT_FPS if fps is None else fps
        self._live = live
        self._rotation = rotation
        self._older = Series(self._path, None if rotation is None else rotation.keep)
        self._lasting = not why_not_h264(path)
        self._part = path.absolute().with_name(f"{path.stem}.part{path.suffix}")
        if not self._lasting:
            self._part = hidden_beside(self._path)
        self._video: _Video | None = None
        self._nameless = False  # the part is a finished video, which has no name yet
        self._size = (0, 0)  # width, height
        self._frames = 0
        self._time_s = 0.0  # of the newest frame, after the first
        self._stamp_s: float | None = None
        self._over = False  # the next frame begins a new file
        self._closed = False
        quiet_decoders()
        self._remove_left(path)
        for old in (path, path.with_name(self._part.name)):
            empty = old != path and old.is_file() and old.stat().st_size == 0  # the run ended before its first frame
            if rotation is not None and not (overwrite or empty) and old.is_file():
                self._older.set_aside(old)
            refuse_existing(old, overwrite=overwrite or empty)
        try:
            self._part.open("wb").close()
        except OSError as error:
            raise SinkError(f"{path} cannot be written: {error.strerror}") from error

    def write(self, rendered: Rendered, /) -> None:
        """Append one overlay.

        Raises:
            DiskFull: the disk is all but full, and what there is will be finished; the next overlay that is written
                begins a new file.
            SinkError: the encoder refuses the size, or what is finished cannot be set aside.
        """
        self._over = self._over or self._is_long()
        if self._over:
            self._continue()
        if shutil.disk_usage(self._part.parent).free < RESERVE:
            self._over = self._video is not None
            raise DiskFull(
                f"{self._path}: less than {RESERVE // 2**20} MiB are left on the disk; "
                f"the video ends after {self._frames} frames. Free some space"
            )
        time_s = self._next_time_s(rendered.frame)
        try:
            if self._video is None:
                height, width = rendered.image.shape[:2]
                self._size = (width + width % 2, height + height % 2)
                self._video = self._open(*self._size)
            self._video.write(fitted(rendered.image, *self._size), time_s)
        except DiskFull:
            self._over = self._video is not None
            raise
        self._frames += 1

    def close(self) -> None:
        """Finish the video and give it its name. Without a frame there is no file.

        Raises:
            SinkError: it cannot be finished or get its name. What can be played is still there, under its other name.
        """
        if self._closed:
            return
        self._closed = True
        self._finish()
        try:
            if self._nameless:
                self._part.replace(self._path)
            else:
                self._part.unlink(missing_ok=True)
        except OSError as error:
            raise SinkError(f"{self._path} cannot be written: {error.strerror}; see {self._part.name}") from error

    def _remove_left(self, path: Path) -> None:
        """Remove what OpenCV was writing when its process was killed; nobody would find it."""
        try:
            for left in left_beside(path):
                if not is_whole(left):  # a whole one could not get its name
                    left.unlink()
        except OSError as error:
            raise SinkError(f"{path} cannot be written: {error.strerror}") from error

    def _open(self, width: int, height: int) -> _Video:
        if not self._lasting:
            return OpenCvVideo(self._part, self._path, width, height, self._fps)
        from camrt.runtime.sinks.h264_video import H264Video

        return H264Video(self._part, self._path, width, height, self._fps)

    def _is_long(self) -> bool:
        if self._video is None:
            return False
        too_large = self._rotation is not None and self._video.size >= self._rotation.size
        return too_large or (self._live and self._time_s >= LONGEST_S)

    def _continue(self) -> None:
        """Finish this file and set it aside; the next frame begins another. After an error this is tried again."""
        self._finish()
        if self._nameless:
            self._older.set_aside(self._part)
            self._nameless = False
        self._over, self._frames, self._time_s, self._stamp_s = False, 0, 0.0, None

    def _finish(self) -> None:
        """Finish what is being written. It is let go of only then, so that no error makes a full part look empty."""
        if self._video is not None:
            self._nameless = self._video.close()
            self._video = None

    def _next_time_s(self, frame: Frame) -> float:
        """Return when the next frame is shown, in seconds after the first."""
        if not self._live:
            return self._frames / self._fps
        if self._stamp_s is not None:
            step_s = frame.time_s - self._stamp_s
            self._time_s += step_s if 0.0 < step_s < _LONGEST_GAP_S else 1.0 / self._fps
        self._stamp_s = frame.time_s
        return self._time_s
