"""A video file: every frame, in order."""

import threading
from pathlib import Path

import cv2
import numpy as np

from camrt.runtime.frames import Frame
from camrt.runtime.sources.capture import fps_of, frame_count_of, open_file, shortfall


class VideoSource:
    """Every frame of a video file, in order and upright. A frame may differ in size from the one before."""

    live = False

    def __init__(self, path: Path) -> None:
        """Open a video file.

        Raises:
            SourceError: it is not there, empty, truncated, or no video.
        """
        self.name = str(path)
        self._capture = open_file(path)
        self.fps = fps_of(self._capture)
        self.frame_count = frame_count_of(self._capture)
        self.problems: list[str] = []
        self._frames = 0
        self._time_s = 0.0
        self._closed = False
        self._reading = threading.Lock()  # a capture that is released while it reads takes the process with it

    def read(self) -> Frame | None:
        """Return the next frame, or None at the end; a file that ends too early says so in ``problems``."""
        with self._reading:
            if self._closed:
                return None
            more, image = self._capture.read()
            if not more:
                missing = shortfall(self.name, self._frames, self._time_s, self.frame_count, self.fps)
                self.problems += [] if missing is None else [missing]
                self._release()
                return None
            self._time_s = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000.0
            self._frames += 1
            return Frame(np.asarray(image, np.uint8), self._frames - 1, self._time_s, self.name)

    def close(self) -> None:
        """Let go of the file, as soon as the frame that is being read is done."""
        with self._reading:
            self._release()

    def _release(self) -> None:
        self._closed = True
        self._capture.release()
