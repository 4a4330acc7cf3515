"""Share one model among several cameras."""

import threading
from dataclasses import dataclass, field
from queue import SimpleQueue

from camrt.images import Image
from camrt.runtime.inference.head_switch import HeadSwitch
from camrt.runtime.inference.model import Model
from camrt.runtime.maps.result import Result

# A thread waits this long for the other cameras of the last batch. Without the wait, the camera that starts a batch
# gets two results while the others get one.
_GRACE_S = 0.002


@dataclass(slots=True)
class _Request:
    frame: Image
    result: Result | None = None
    error: BaseException | None = None
    wake: "SimpleQueue[None]" = field(default_factory=SimpleQueue)
    """Gets an item when the request is done, and when its thread is to run the next batch."""

    @property
    def done(self) -> bool:
        return self.result is not None or self.error is not None


class SharedModel:
    """Run calls of several threads in order of arrival: in batches, side by side, or one after the other.

    This is a dynamic batcher with several instances, like Triton's
    (https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/batcher.html). Frames that arrive
    while all runs are busy form the next batch. A thread that finds a free run takes the frames that wait longest. Each
    camera waits for its result before it sends the next frame, so all cameras get an equal share.
    """

    def __init__(self, model: Model | HeadSwitch, *, max_batch: int, runs: int) -> None:
        """Share a model.

        Args:
            model: the model to run, or a switch between its heads.
            max_batch: largest number of frames in a batch.
            runs: number of batches that run at once.
        """
        self._model = model
        self._max_batch = max_batch
        self._lock = threading.Lock()
        self._arrival = threading.Condition(self._lock)
        self._free_runs = runs
        self._waiting: list[_Request] = []
        self._last_size = 1  # frames in the last batch

    def __call__(self, frame: Image) -> Result:
        """Classify a frame: uint8 (H, W, 3) BGR. An error of a batch is raised for each of its frames."""
        request = _Request(frame)
        with self._lock:
            self._waiting.append(request)
            self._arrival.notify_all()
            runs = self._free_runs > 0
            self._free_runs -= runs
        if runs:
            self._run_next()
        while not request.done:
            request.wake.get()
            if not request.done:
                self._run_next()
        if request.error is not None:
            raise request.error
        assert request.result is not None
        return request.result

    def _run_next(self) -> None:
        """Run the frames that wait longest, then pass the run to a thread that waits, or free it."""
        with self._lock:
            self._arrival.wait_for(lambda: len(self._waiting) >= self._last_size, _GRACE_S)
            batch, self._waiting = self._waiting[: self._max_batch], self._waiting[self._max_batch :]
            self._last_size = max(1, len(batch))
        self._run(batch)
        for request in batch:
            request.wake.put(None)
        with self._lock:
            if self._waiting:
                self._waiting[0].wake.put(None)
            else:
                self._free_runs += 1

    def _run(self, batch: list[_Request]) -> None:
        if not batch:  # another run took the frames
            return
        try:
            for request, result in zip(batch, self._model([request.frame for request in batch]), strict=True):
                request.result = result
        except BaseException as error:  # noqa: BLE001 - raised in the threads that wait for a result
            for request in batch:
                request.error = error
