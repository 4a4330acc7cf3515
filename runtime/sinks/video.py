"""Write overlays to a video, in one file or, over hours, in several."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol

from camrt.cores import usable_cores
from camrt.errors import DiskFull, SinkError, UsageError
from camrt.exclusive_file import writer_of
from camrt.files import all_beside, file_name, hidden_beside, refuse_existing
from camrt.images import Image
from camrt.runtime.frames import Frame, Rendered, Sound
from camrt.runtime.render.letterbox import letterbox
from camrt.runtime.sinks.crash_safe_file import CrashSafeFile
from camrt.runtime.sinks.opencv_video import CODECS, OpenCvVideo, is_whole
from camrt.runtime.sinks.rotation import Rotation, Series
from camrt.text import is_utf8
from camrt.video_decoding.capture import has_pyav, quiet_decoders

DEFAULT_FPS: Final = 25.0
RESERVE: Final = 8 * 2**20
"""Bytes that stay free on the disk, so that the index of the video, which comes last, can still be written."""
LONGEST_S: Final = 3600.0
"""Seconds after which a live video continues in a new file, because the index of a file grows in memory."""
_LONGEST_GAP_S: Final = 60.0
"""The clock was set between two frames that are further apart than this, or in the wrong order."""


class _Video(Protocol):
    """One open video file. `close` returns True if the file can be played; a second call returns the same."""

    @property
    def size(self) -> int: ...
    @property
    def problems(self) -> list[str]: ...
    def write(self, image: Image, time_s: float, lasts_s: float) -> None: ...
    def close(self) -> bool: ...


def h264_problem(path: Path) -> str:
    """Return why a video cannot be H.264; empty if it can.

    Args:
        path: the video; its suffix is one of `CODECS`.
    """
    if path.suffix.lower() == ".avi":
        return "videos in .avi are MJPEG, which browsers do not play; name it .mp4"
    if not has_pyav():
        return (
            "written as MPEG-4 part 2, which browsers do not play, and which is lost if the process is killed; "
            "for H.264: pip install 'camrt[video]'"
        )
    return ""


class VideoSink:
    """Writes every overlay to a video, which gets its name in `close`.

    With PyAV (extra ``video``) the codec is H.264. Until `close` the file ``seen.mp4`` is called ``seen.part.mp4`` and
    can be played, even if the process is killed; a kill costs less than the last second. Without PyAV, and for
    ``.avi``, OpenCV writes the video under a hidden name. It is complete and checked after `close`, or removed.

    The first frame sets the size. Codecs need even sides, so the last row or column of an odd side is repeated. Later
    frames of another size are letterboxed. With PyAV, each frame of a video or live source keeps its time, and a video
    keeps its sound. With OpenCV the frame rate is constant and there is no sound; ``tell`` gets a line.

    A live video continues in a new file each hour (`LONGEST_S`). Finished files are ``seen.000001.mp4`` and so on.
    """

    def __init__(
        self,
        path: Path,
        *,
        fps: float | None,
        overwrite: bool = False,
        live: bool = False,
        timed: bool = False,
        sound: Sound | None = None,
        rotation: Rotation | None = None,
        tell: Callable[[str], None] = lambda line: None,
        threads: int | None = None,
    ) -> None:
        """Create the file; its content starts with the first frame.

        Args:
            path: the video; the suffix selects the container.
            fps: frame rate; None: 25.
            overwrite: allow an existing file to be replaced.
            live: the frames have times of their own, and the video may have no end.
            timed: the frames have the times of a file.
            sound: sound of the file that the frames come from.
            rotation: at which size the video continues in a new file; files of an earlier run get a number.
            tell: takes a line for each part of the input that is not in the video, such as its sound.
            threads: threads that encode H.264; None: one for each core this process may use.

        Raises:
            UsageError: the suffix is unknown, the file exists, or another process writes it.
            SinkError: the file cannot be written.
        """
        if path.suffix.lower() not in CODECS:
            raise UsageError(f"{path}: the suffix selects the video format; use one of {' '.join(CODECS)}")
        self._path = path.absolute()  # FFmpeg takes the text before a colon for a protocol
        self._fps = DEFAULT_FPS if fps is None else fps
        self._live = live
        self._timed = timed
        self._sound = sound
        self._tell = tell
        self._threads = threads or usable_cores()
        self._rotation = rotation
        self._older = Series(self._path, None if rotation is None else rotation.keep)
        self._h264 = not h264_problem(path)
        if not self._h264 and not is_utf8(str(self._path)):  # OpenCV 4 and 5 end the process: a segmentation fault
            raise SinkError(f"{path}: OpenCV writes no video to a path that is not UTF-8; choose another name")
        if sound is not None and not self._h264:
            way_out = "" if path.suffix.lower() == ".avi" else "; pip install 'camrt[video]' keeps it"
            tell(f"{path}: the sound of {sound.path}{'' if sound.certain else ', if it has any,'} is left out{way_out}")
        self._part = path.absolute().with_name(file_name(path.stem, f".part{path.suffix}"))
        if not self._h264:
            self._part = hidden_beside(self._path)
        self._video: _Video | None = None
        self._nameless = False  # the part file is a finished video that has no name yet
        self._size = (0, 0)  # width, height
        self._frames = 0
        self._time_s = 0.0  # of the newest frame, after the first
        self._stamp_s: float | None = None
        self._first_s: float | None = None  # time of the first frame of this file
        self._older_parts = 0
        self._full = False  # the next frame begins a new file
        self._closed = False
        quiet_decoders()
        self._check_parts(path)
        for old in (path, path.with_name(self._part.name)):
            empty = old != path and old.is_file() and old.stat().st_size == 0  # a run that ended before its first frame
            if rotation is not None and not (overwrite or empty) and old.is_file():
                self._older.add(old)
            refuse_existing(old, overwrite=overwrite or empty)
        self._file: CrashSafeFile | None = CrashSafeFile(self._part)
        """The open part file, so that no other process writes it. `H264Video` fills it; OpenCV opens it by its name."""

    def write(self, rendered: Rendered, /) -> None:
        """Append one overlay.

        Raises:
            DiskFull: the disk is almost full. The video so far will be finished, and the next overlay that fits begins
                a new file.
            SinkError: the encoder cannot write this size, or a finished file cannot get its number.
        """
        self._full = self._full or self._is_long()
        if self._full:
            self._continue()
        if shutil.disk_usage(self._part.parent).free < RESERVE:
            self._full = self._video is not None
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
            self._video.write(letterbox(rendered.image, *self._size), time_s, rendered.frame.lasts_s)
        except DiskFull:
            self._full = self._video is not None
            raise
        self._frames += 1

    def close(self) -> None:
        """Finish the video and give it its name; without a frame the file is removed.

        Raises:
            SinkError: the video cannot be finished, or cannot get its name. A file that can be played keeps its
                temporary name.
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

    def _check_parts(self, path: Path) -> None:
        """Remove the hidden files of killed processes; they cannot be played, and users would not find them.

        Raises:
            UsageError: another process writes this video.
            SinkError: the folder cannot be read or changed.
        """
        try:
            for part in (self._part, *all_beside(path)):
                if writer := writer_of(part):
                    raise UsageError(
                        f"{path} is being written by {writer}; choose another name, or end that process first"
                    )
            for leftover in all_beside(path):
                if not is_whole(leftover):  # a whole one is a finished video that could not get its name
                    leftover.unlink()
        except OSError as error:
            raise SinkError(f"{path} cannot be written: {error.strerror}") from error

    def _open(self, width: int, height: int) -> _Video:
        file = self._file or CrashSafeFile(self._part)
        if not self._h264:
            self._file = file
            return OpenCvVideo(self._part, self._path, width, height, self._fps)
        from camrt.runtime.sinks.h264_video import H264Video

        sound = self._sound
        if sound is not None:
            sound = replace(sound, start_s=sound.start_s + (self._first_s or 0.0), first=self._older_parts == 0)
        self._file = None
        return H264Video(file, self._path, width, height, self._fps, sound, self._threads)

    def _is_long(self) -> bool:
        if self._video is None:
            return False
        too_large = self._rotation is not None and self._video.size >= self._rotation.size
        return too_large or (self._live and self._time_s >= LONGEST_S)

    def _continue(self) -> None:
        """Finish this file and give it a number; the next frame begins another. After an error it can be repeated."""
        self._finish()
        if self._nameless:
            self._older.add(self._part)
            self._nameless = False
        self._full, self._frames, self._time_s, self._stamp_s = False, 0, 0.0, None
        self._first_s = None
        self._older_parts += 1

    def _finish(self) -> None:
        """Close the video file. The reference is dropped last, so an error cannot make a full file look empty."""
        if self._video is not None:
            self._nameless = self._video.close()
            for problem in self._video.problems:
                self._tell(problem)
            self._video = None
        if self._file is not None:
            self._file.close()
            self._file = None

    def _next_time_s(self, frame: Frame) -> float:
        """Return the presentation time of the next frame, in seconds after the first."""
        if self._timed and not self._live:
            self._first_s = frame.time_s if self._first_s is None else self._first_s
            return frame.time_s - self._first_s
        if not self._live:
            return self._frames / self._fps
        if self._stamp_s is not None:
            step_s = frame.time_s - self._stamp_s
            self._time_s += step_s if 0.0 < step_s < _LONGEST_GAP_S else 1.0 / self._fps
        self._stamp_s = frame.time_s
        return self._time_s
