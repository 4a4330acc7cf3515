"""Read every frame of a video file, in order."""

import threading
from collections.abc import Callable
from pathlib import Path

from camrt.runtime.frames import Frame, Sound
from camrt.text import one_line
from camrt.video_decoding.file import VideoFile
from camrt.video_decoding.hardware_devices import SOFTWARE


class VideoSource:
    """Every frame of a video file, as `VideoFile` reads it."""

    live = False

    def __init__(
        self,
        path: Path,
        *,
        name: str = "",
        decode: str = SOFTWARE,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Open a video file.

        Args:
            path: the file.
            name: name of the source; empty: the path.
            decode: the decoder, see `camrt.video_decoding.hardware_devices.choose_device`.
            tell: takes a line about the decoder, here or in `read`, if one was requested.

        Raises:
            SourceError: the file does not exist, is empty or truncated, or is not a video; or the named device does not
                decode it.
        """
        self.name = name or one_line(str(path))
        self._video = VideoFile(path, self.name, decode=decode)
        self._tell = tell
        self._told = ""
        self._tell_decoder()
        self.fps = self._video.fps
        self.frame_count = self._video.frame_count
        self.problems = self._video.problems
        self.sound: Sound | None = None
        """The sound of the file; None: it has none."""
        if self._video.has_sound is not False:
            certain = self._video.has_sound is not None
            self.sound = Sound(path, self._video.start_s, lambda: self._video.ended, certain=certain)
        self._closed = False
        self._reading = threading.Lock()  # releasing a capture during a read crashes the process

    def read(self) -> Frame | None:
        """Return the next frame, or None at the end. ``problems`` lists damaged places and an early end.

        Raises:
            SourceError: no frame could be decoded, or the decoder cannot convert one.
        """
        with self._reading:
            if self._closed:
                return None
            self._closed = True
            image = self._video.read()
            self._tell_decoder()
            if image is None:
                return None
            self._closed = False
            video = self._video
            return Frame(image, video.frames - 1, video.time_s, self.name, lasts_s=video.lasts_s)

    def close(self) -> None:
        """Release the file as soon as the current read is done."""
        with self._reading:
            self._closed = True
            self._video.close()

    def _tell_decoder(self) -> None:
        if self._video.remark != self._told:
            self._told = self._video.remark
            self._tell(f"{self.name} is {self._told}")
