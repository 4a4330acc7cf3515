"""The queue delivers every item in order, or the newest one."""

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camrt.runtime.stream.bounded_queue import BoundedQueue, Closed


@given(st.lists(st.integers(), max_size=50), st.integers(1, 4))
def test_a_lossless_handover_gives_every_item_in_order(items, capacity):
    handover = BoundedQueue(capacity)

    def give():
        for item in items:
            handover.put(item)
        handover.close()

    giver = threading.Thread(target=give)
    giver.start()
    taken = []
    with pytest.raises(Closed):  # noqa: PT012 - what comes before the end is the matter
        while True:
            taken.append(handover.get())
    giver.join()
    assert taken == items
    assert handover.dropped == 0


@given(st.lists(st.integers(), min_size=1, max_size=50), st.integers(1, 4))
def test_a_newest_only_handover_keeps_the_newest_and_counts_the_rest(items, capacity):
    handover = BoundedQueue(capacity, drop_oldest=True)
    for item in items:
        handover.put(item)
    kept = items[-capacity:]
    assert [handover.get() for _ in kept] == kept
    assert handover.dropped == len(items) - len(kept)
    assert handover.get(timeout_s=0.0) is None


def test_closing_wakes_a_taker_that_waits():
    handover = BoundedQueue(1)
    woken = threading.Event()

    def take():
        with pytest.raises(Closed):
            handover.get()
        woken.set()

    threading.Thread(target=take).start()
    time.sleep(0.05)
    handover.close()
    assert woken.wait(5.0)


def test_closing_wakes_a_giver_that_waits():
    handover = BoundedQueue(1)
    handover.put(1)
    woken = threading.Event()

    def give():
        with pytest.raises(Closed):
            handover.put(2)
        woken.set()

    threading.Thread(target=give).start()
    time.sleep(0.05)
    handover.close(discard=True)
    assert woken.wait(5.0)
    with pytest.raises(Closed):
        handover.get()
