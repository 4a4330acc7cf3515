"""Read every frame of a video file, in order."""

import threading
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from camrt.images import Image
from camrt.runtime.frames import Frame
from camrt.runtime.sources.capture import fps_of, frame_count_of, open_file, shortfall

MOST_DAMAGED: Final = 100
"""This many failures in a row are the end of the video. After fewer, reading goes on behind the damaged place."""


class VideoSource:
    """Every frame of a video file, in order and upright.

    If the frame size changes within a video, OpenCV scales all frames to the size of the first.
    """

    live = False

    def __init__(self, path: Path, *, name: str = "") -> None:
        """Open a video file.

        Args:
            path: the file.
            name: name of the source; empty: the path.

        Raises:
            SourceError: the file does not exist, is empty or truncated, or is not a video.
        """
        self.name = name or str(path)
        self._capture = open_file(path)
        self.fps = fps_of(self._capture)
        self.frame_count = frame_count_of(self._capture)
        self.problems: list[str] = []
        self._frames = 0
        self._time_s = 0.0
        self._closed = False
        self._reading = threading.Lock()  # releasing a capture during a read crashes the process

    def read(self) -> Frame | None:
        """Return the next frame, or None at the end. ``problems`` lists damaged places and an early end."""
        with self._reading:
            if self._closed:
                return None
            image = self._decode()
            if image is None:
                missing = shortfall(self.name, self._frames, self._time_s, self.frame_count, self.fps)
                self.problems += [] if missing is None else [missing]
                self._release()
                return None
            self._frames += 1
            return Frame(image, self._frames - 1, self._time_s, self.name)

    def close(self) -> None:
        """Release the file as soon as the current read is done."""
        with self._reading:
            self._release()

    def _decode(self) -> Image | None:
        for failures in range(MOST_DAMAGED):
            more, image = self._capture.read()
            if more:
                if failures:
                    self.problems.append(
                        f"{self.name}: {failures} damaged frames after {self._time_s:.2f} s were skipped"
                    )
                self._time_s = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000.0
                return np.asarray(image, np.uint8)
        return None

    def _release(self) -> None:
        self._closed = True
        self._capture.release()
