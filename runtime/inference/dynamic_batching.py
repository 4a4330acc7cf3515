"""One model for several cameras."""

import statistics
import threading
import time
from dataclasses import dataclass

import numpy as np

from camrt.images import Image
from camrt.runtime.inference.model import Model
from camrt.runtime.maps.result import Result

# What a batch must save of the time a frame takes to be worth it: less is noise.
_WORTH = 0.97
_ROUNDS = 7
# How long those who were in the last batch are waited for: else the one who ran it would go twice for their once.
_GRACE_S = 0.002


@dataclass(slots=True)
class _Waiting:
    frame: Image
    result: Result | None = None
    error: BaseException | None = None

    @property
    def done(self) -> bool:
        return self.result is not None or self.error is not None


class BatchingModel:
    """Calls of several threads to one model, in the order they came: what waits while it runs goes in together.

    Each camera waits for its result before it asks again, so that each gets the same share, and the model runs on all
    its threads, for one batch at a time: two runs side by side would take the cores from each other.
    """

    def __init__(self, model: Model, most: int) -> None:
        """Share a model.

        Args:
            model: what runs.
            most: frames in a batch at most; see `fastest_batch`.
        """
        self._model = model
        self._most = most
        self._changed = threading.Condition()
        self._waiting: list[_Waiting] = []
        self._running = False
        self._last = 1  # frames in the last batch

    def __call__(self, frame: Image) -> Result:
        """Classify a frame: uint8 (H, W, 3) BGR. An error of the batch is raised to everyone who is in it."""
        mine = _Waiting(frame)
        with self._changed:
            self._waiting.append(mine)
            self._changed.notify_all()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: mine.done or not self._running)
                if mine.done:
                    break
                self._running = True  # whoever finds it free runs what waits, the own frame with it or a later time
                self._changed.wait_for(lambda: len(self._waiting) >= self._last, _GRACE_S)
                batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                self._last = len(batch)
            try:
                self._run(batch)
            finally:
                with self._changed:
                    self._running = False
                    self._changed.notify_all()
        if mine.error is not None:
            raise mine.error
        assert mine.result is not None
        return mine.result

    def _run(self, batch: list[_Waiting]) -> None:
        try:
            for waiting, result in zip(batch, self._model([one.frame for one in batch]), strict=True):
                waiting.result = result
        except BaseException as error:  # noqa: BLE001 - raised in the threads that wait for it
            for waiting in batch:
                waiting.error = error


def fastest_batch(model: Model, cameras: int) -> int:
    """Measure whether ``cameras`` frames in one batch take less time than one by one; takes about a second.

    Returns: ``cameras`` if they do, by three percent or more, else 1.
    """
    if cameras == 1:
        return 1
    random = np.random.default_rng(0)
    shape = (cameras, model.geometry.height, model.geometry.width, 3)
    frames = list(random.integers(0, 256, shape, np.uint8))
    ratios = []
    for turn in range(_ROUNDS + 1):
        start = time.perf_counter()
        model(frames)
        together = time.perf_counter()
        for frame in frames:
            model(frame)
        if turn:  # the first warms up
            ratios.append((together - start) / (time.perf_counter() - together))
    return cameras if statistics.median(ratios) < _WORTH else 1
