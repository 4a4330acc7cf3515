"""Synthetic camera: a synthetic scene as a source of frames."""

import threading
import time

from camrt.runtime.frames import Frame
from camrt.synthetic_scene import FPS, Scene


class SyntheticSource:
    """A scene as a camera, 30 frames per second.

    Args:
        scene: the scene.
        frames: number of frames; None: no end.
        live: True: frames come at the camera's pace, and a slow reader misses some. False: `read` returns every frame
            without waiting.
        name: name of the source.
    """

    fps: float | None = FPS

    def __init__(self, scene: Scene, *, frames: int | None = None, live: bool = True, name: str = "synthetic") -> None:
        self.name = name
        self.live = live
        self.frame_count = frames
        self.problems: list[str] = []
        self._scene = scene
        self._next = 0
        self._first_s: float | None = None
        self._closed = threading.Event()

    def read(self) -> Frame | None:
        """Return the next frame, or None at the end; a live source waits until the frame is due."""
        if self.live:
            self._wait()
        if self._closed.is_set() or (self.frame_count is not None and self._next >= self.frame_count):
            return None
        index = self._next
        self._next += 1
        time_s = time.time() if self.live else index / FPS
        return Frame(self._scene.view(index).image, index, time_s, self.name)

    def close(self) -> None:
        """End the source, and a read that waits."""
        self._closed.set()

    def _wait(self) -> None:
        now = time.perf_counter()
        if self._first_s is None:
            self._first_s = now
        late = now - self._first_s - self._next / FPS
        self._next += max(0, int(late * FPS))  # a camera drops frames that nothing reads
        self._closed.wait(max(0.0, -late))
