"""Share one model among several cameras."""

import statistics
import threading
import time
from dataclasses import dataclass

import numpy as np

from camrt.images import Image
from camrt.runtime.inference.head_switch import HeadSwitch
from camrt.runtime.inference.model import Model
from camrt.runtime.maps.result import Result

# A batch must take at most this share of the time of single frames. A smaller saving is noise.
_WORTHWHILE_RATIO = 0.97
_ROUNDS = 7
# A thread waits this long for the other cameras of the last batch. Without the wait, the camera that starts a batch
# gets two results while the others get one.
_GRACE_S = 0.002


@dataclass(slots=True)
class _Request:
    frame: Image
    result: Result | None = None
    error: BaseException | None = None

    @property
    def done(self) -> bool:
        return self.result is not None or self.error is not None


class BatchingModel:
    """Run calls of several threads in batches, in order of arrival.

    This is a dynamic batcher like Triton's
    (https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/batcher.html). Frames that arrive
    while the model runs form the next batch. The first thread that finds the model idle runs all waiting frames. The
    model runs one batch at a time on all its threads, because two parallel runs would compete for the cores. Each
    camera waits for its result before it sends the next frame, so all cameras get an equal share.
    """

    def __init__(self, model: Model | HeadSwitch, max_batch: int) -> None:
        """Share a model.

        Args:
            model: the model to run, or a switch between its heads.
            max_batch: largest number of frames in a batch; see `fastest_batch`.
        """
        self._model = model
        self._max_batch = max_batch
        self._changed = threading.Condition()
        self._waiting: list[_Request] = []
        self._running = False
        self._last_size = 1  # frames in the last batch

    def __call__(self, frame: Image) -> Result:
        """Classify a frame: uint8 (H, W, 3) BGR. An error of a batch is raised for each of its frames."""
        request = _Request(frame)
        with self._changed:
            self._waiting.append(request)
            self._changed.notify_all()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: request.done or not self._running)
                if request.done:
                    break
                self._running = True  # this thread runs the batch, even if its own frame is in a later one
                self._changed.wait_for(lambda: len(self._waiting) >= self._last_size, _GRACE_S)
                batch, self._waiting = self._waiting[: self._max_batch], self._waiting[self._max_batch :]
                self._last_size = len(batch)
            try:
                self._run(batch)
            finally:
                with self._changed:
                    self._running = False
                    self._changed.notify_all()
        if request.error is not None:
            raise request.error
        assert request.result is not None
        return request.result

    def _run(self, batch: list[_Request]) -> None:
        try:
            for request, result in zip(batch, self._model([request.frame for request in batch]), strict=True):
                request.result = result
        except BaseException as error:  # noqa: BLE001 - raised in the threads that wait for a result
            for request in batch:
                request.error = error


def fastest_batch(model: Model, cameras: int) -> int:
    """Measure whether ``cameras`` frames run faster in one batch than one by one. Takes about a second.

    Returns: ``cameras`` if the batch is at least three percent faster, else 1.
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
        batch_end = time.perf_counter()
        for frame in frames:
            model(frame)
        if turn:  # the first turn is a warm-up
            ratios.append((batch_end - start) / (time.perf_counter() - batch_end))
    return cameras if statistics.median(ratios) < _WORTHWHILE_RATIO else 1
