"""Several threads share one model: each gets its own result, in batches or side by side, and shares are equal."""

import threading
import time
from collections import Counter

import numpy as np
import pytest

from camrt.runtime.inference.fastest_sharing import Sharing, fastest_sharing
from camrt.runtime.inference.shared_model import SharedModel


class RecordingModel:
    """A model that records the size of each batch, and the most runs at once."""

    def __init__(self, model, *, slow_s=0.0, fails=False):
        self.batches, self.running, self.most_running = [], 0, 0
        self.lock = threading.Lock()
        self.model, self._slow_s, self._fails = model, slow_s, fails

    def __call__(self, frames):
        with self.lock:
            self.batches.append(len(frames))
            self.running += 1
            self.most_running = max(self.most_running, self.running)
        try:
            time.sleep(self._slow_s)
            if self._fails:
                raise MemoryError("out of memory")
            return self.model(frames)
        finally:
            with self.lock:
                self.running -= 1


def call_from_threads(recording_model, max_batch, runs, threads, seconds):
    """Call a shared model from several threads; return the calls of each thread and the threads with wrong results."""
    shared = SharedModel(recording_model, max_batch=max_batch, runs=runs)
    counts, wrong = Counter(), []
    ready = threading.Barrier(threads)

    def work(number):
        frame = np.full((24, 32, 3), 20 * number, np.uint8)
        expected = recording_model.model(frame).logits
        ready.wait()
        until = time.monotonic() + seconds
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


@pytest.mark.parametrize(("max_batch", "runs"), [(1, 1), (2, 1), (4, 1), (1, 2), (1, 3), (2, 2)])
def test_each_thread_gets_its_own_results_and_an_equal_share(model, max_batch, runs):
    recording_model = RecordingModel(model, slow_s=0.002)
    counts, wrong = call_from_threads(recording_model, max_batch, runs, threads=5, seconds=0.8)
    assert not wrong
    assert max(recording_model.batches) == max_batch
    assert recording_model.most_running == runs
    assert max(counts.values()) - min(counts.values()) <= 2 + max(counts.values()) // 10


def test_single_thread_runs_single_frames(model):
    recording_model = RecordingModel(model)
    counts, _ = call_from_threads(recording_model, 8, 2, threads=1, seconds=0.2)
    assert set(recording_model.batches) == {1}
    assert counts[0] == len(recording_model.batches)


@pytest.mark.parametrize("runs", [1, 2])
def test_error_of_a_batch_is_raised_in_every_thread(model, runs):
    shared = SharedModel(RecordingModel(model, slow_s=0.01, fails=True), max_batch=4, runs=runs)
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


def test_one_camera_has_the_model_as_it_is(model):
    assert fastest_sharing(model, 1) == Sharing(model, max_batch=1, runs=1)


@pytest.mark.parametrize("cameras", [2, 3, 40])
def test_the_fastest_way_is_one_of_those_that_are_measured(model, cameras):
    two_threads = model.with_threads(2)
    way = fastest_sharing(two_threads, cameras)
    assert (way.max_batch, way.runs, way.model.threads) in [
        (1, 1, 2),
        (1, 2, 1),
        *((size, 1, 2) for size in (2, 3, 4, 8, 16) if size <= cameras),
    ]
    assert way.model.labels == model.labels
    frame = np.full((24, 32, 3), 90, np.uint8)
    np.testing.assert_allclose(way.share(way.model)(frame).logits, model(frame).logits, atol=1e-4)


def test_failing_model_ends_the_measurement_with_its_error(model, monkeypatch):
    def fail(*_args, **_kwargs):
        raise MemoryError("out of memory")

    monkeypatch.setattr(type(model), "__call__", fail)
    with pytest.raises(MemoryError, match="out of memory"):
        fastest_sharing(model, 3)
