"""Several threads on one model: each gets its own result, what waits goes in together, nobody is left out."""

import threading
import time
from collections import Counter

import numpy as np
import pytest

from camrt.runtime.inference.dynamic_batching import BatchingModel, fastest_batch


class Watched:
    """A model that notes how many frames it is given at once."""

    def __init__(self, model, *, slow_s=0.0, fails=False):
        self.batches = []
        self._model, self._slow_s, self._fails = model, slow_s, fails

    def __call__(self, frames):
        self.batches.append(len(frames))
        time.sleep(self._slow_s)
        if self._fails:
            raise MemoryError("no room")
        return self._model(frames)


def ask(shared, threads, seconds):
    """Let so many threads ask one after the other; returns how often each did, and the wrong answers."""
    counts, wrong = Counter(), []
    until = time.monotonic() + seconds

    def work(number):
        picture = np.full((24, 32, 3), 20 * number, np.uint8)
        expected = model_of(shared)(picture).logits
        while time.monotonic() < until:
            if not np.allclose(shared(picture).logits, expected, atol=1e-4):
                wrong.append(number)
            counts[number] += 1

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return counts, wrong


def model_of(shared):
    return shared._model._model


@pytest.mark.parametrize("most", [1, 2, 4])
def test_each_gets_its_own_result_and_its_share(model, most):
    watched = Watched(model, slow_s=0.002)
    counts, wrong = ask(BatchingModel(watched, most), threads=4, seconds=0.8)
    assert not wrong
    assert max(watched.batches) == most
    assert max(counts.values()) - min(counts.values()) <= 2 + max(counts.values()) // 10


def test_one_alone_does_not_wait_for_company(model):
    watched = Watched(model)
    counts, _ = ask(BatchingModel(watched, 8), threads=1, seconds=0.2)
    assert set(watched.batches) == {1}
    assert counts[0] == len(watched.batches)


def test_an_error_reaches_everyone_who_waits_for_it(model):
    shared = BatchingModel(Watched(model, slow_s=0.01, fails=True), 4)
    errors = []

    def work():
        with pytest.raises(MemoryError, match="no room"):
            shared(np.zeros((24, 32, 3), np.uint8))
        errors.append(1)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(10)
    assert len(errors) == 4


def test_a_batch_is_all_cameras_or_one_frame(model):
    assert fastest_batch(model, 1) == 1
    assert fastest_batch(model, 3) in (1, 3)
