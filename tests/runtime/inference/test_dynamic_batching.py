"""Several threads share one model: each gets its own result, waiting frames form a batch, and shares are equal."""

import threading
import time
from collections import Counter

import numpy as np
import pytest

from camrt.runtime.inference.dynamic_batching import BatchingModel, fastest_batch


class RecordingModel:
    """A model that records the size of each batch."""

    def __init__(self, model, *, slow_s=0.0, fails=False):
        self.batches = []
        self.model, self._slow_s, self._fails = model, slow_s, fails

    def __call__(self, frames):
        self.batches.append(len(frames))
        time.sleep(self._slow_s)
        if self._fails:
            raise MemoryError("out of memory")
        return self.model(frames)


def call_from_threads(recording_model, max_batch, threads, seconds):
    """Call a shared model from several threads; return the calls of each thread and the threads with wrong results."""
    shared = BatchingModel(recording_model, max_batch)
    counts, wrong = Counter(), []
    until = time.monotonic() + seconds

    def work(number):
        frame = np.full((24, 32, 3), 20 * number, np.uint8)
        expected = recording_model.model(frame).logits
        while time.monotonic() < until:
            if not np.allclose(shared(frame).logits, expected, atol=1e-4):
                wrong.append(number)
            counts[number] += 1

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return counts, wrong


@pytest.mark.parametrize("max_batch", [1, 2, 4])
def test_each_thread_gets_its_own_results_and_an_equal_share(model, max_batch):
    recording_model = RecordingModel(model, slow_s=0.002)
    counts, wrong = call_from_threads(recording_model, max_batch, threads=4, seconds=0.8)
    assert not wrong
    assert max(recording_model.batches) == max_batch
    assert max(counts.values()) - min(counts.values()) <= 2 + max(counts.values()) // 10


def test_single_thread_runs_single_frames(model):
    recording_model = RecordingModel(model)
    counts, _ = call_from_threads(recording_model, 8, threads=1, seconds=0.2)
    assert set(recording_model.batches) == {1}
    assert counts[0] == len(recording_model.batches)


def test_error_of_a_batch_is_raised_in_every_thread(model):
    shared = BatchingModel(RecordingModel(model, slow_s=0.01, fails=True), 4)
    errors = []

    def work():
        with pytest.raises(MemoryError, match="out of memory"):
            shared(np.zeros((24, 32, 3), np.uint8))
        errors.append(1)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(10)
    assert len(errors) == 4


def test_fastest_batch_is_all_cameras_or_one_frame(model):
    assert fastest_batch(model, 1) == 1
    assert fastest_batch(model, 3) in (1, 3)
