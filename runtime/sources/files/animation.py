"""Read animated PNG, WebP and AVIF files as videos, and choose the reader of a video file."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from camrt.errors import SourceError
from camrt.file_kind import kind_of
from camrt.images import Picture, read_pictures
from camrt.runtime.frames import Frame, Source
from camrt.text import one_line
from camrt.video_decoding.hardware_devices import SOFTWARE, software_remark

_UNSTATED_S: Final = 0.1  # as in browsers, a frame without a duration
"""Duration of a frame that states none, in seconds."""


def open_video(
    path: Path, name: str = "", *, decode: str = SOFTWARE, tell: Callable[[str], None] = lambda line: None
) -> Source:
    """Open a video or an animation.

    Args:
        path: the file.
        name: name of the source; empty: the path.
        decode: the decoder, see `camrt.video_decoding.hardware_devices.choose_device`.
        tell: takes a line about the decoder, if one was requested.

    Raises:
        SourceError: the file does not exist, is empty or truncated, or is not a video; or the named device does not
            decode it.
    """
    from camrt.runtime.sources.files.video import VideoSource

    try:
        animated = kind_of(path).animated
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    if not animated:
        return VideoSource(path, name=name, decode=decode, tell=tell)
    remark = software_remark(decode)
    source = AnimationSource(path, name=name)
    if remark:
        tell(f"{source.name} is {remark}")
    return source


class AnimationSource:
    """Every frame of an animated image, in order, decoded by Pillow. FFmpeg reads none of them, or without alpha."""

    live = False

    def __init__(self, path: Path, *, name: str = "") -> None:
        """Read the times of all frames.

        Args:
            path: the file.
            name: name of the source; empty: the path.

        Raises:
            SourceError: the file cannot be read, or Pillow (extra ``images``) is not installed.
        """
        self.name = name or one_line(str(path))
        self.problems: list[str] = []
        seconds = self._durations(path)
        self.fps: float | None = len(seconds) / sum(seconds)
        self.frame_count: int | None = len(seconds)
        self._pictures: Iterator[Picture] = read_pictures(path)
        self._seconds = seconds
        self._frames = 0
        self._time_s = 0.0

    def read(self) -> Frame | None:
        """Return the next frame, or None at the end or after `close`."""
        if self._frames == self.frame_count or (picture := next(self._pictures, None)) is None:
            return None
        seconds = self._seconds[self._frames]
        frame = Frame(picture.image, self._frames, self._time_s, self.name, lasts_s=seconds)
        self._time_s += seconds
        self._frames += 1
        return frame

    def close(self) -> None:
        """End the reading."""
        self._pictures = iter(())

    def _durations(self, path: Path) -> list[float]:
        """Return the seconds that each frame is shown, as far as the file can be read."""
        seconds: list[float] = []
        try:
            for picture in read_pictures(path):
                seconds.append(picture.seconds or _UNSTATED_S)
                if picture.remark:
                    self.problems.append(f"{self.name}: {picture.remark}")
        except SourceError as error:
            if not seconds:
                raise
            self.problems.append(str(error))
        return seconds
