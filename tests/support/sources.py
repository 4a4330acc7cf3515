"""Sources for tests."""

import time

import numpy as np

from camrt.runtime.frames import Frame
from camrt.text import one_line


class StillSource:
    """A source of black frames, or of ``images`` in turn. It waits ``period_s`` seconds before each."""

    fps = None

    def __init__(self, name="still", count=None, *, live=True, images=None, period_s=0.0):
        self.name, self.frame_count, self.live, self.problems = one_line(name), count, live, []
        self._images = [np.zeros((24, 32, 3), np.uint8)] if images is None else images
        self._period_s = period_s
        self._next = 0
        self.closed = False

    def read(self):
        if self.closed or self._next == self.frame_count:
            return None
        time.sleep(self._period_s)
        self._next += 1
        index = self._next - 1
        return Frame(self._images[index % len(self._images)], index, index / 25, self.name)

    def close(self):
        self.closed = True
