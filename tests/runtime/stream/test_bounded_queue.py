"""The queue delivers every item in order, or the newest one."""

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camrt.runtime.stream.bounded_queue import BoundedQueue, Closed


@given(st.lists(st.integers(), max_size=50), st.integers(1, 4))
def test_a_lossless_queue_delivers_every_item_in_order(items, capacity):
    queue = BoundedQueue(capacity)

    def produce():
        for item in items:
            queue.put(item)
        queue.close()

    producer = threading.Thread(target=produce)
    producer.start()
    output = []
    with pytest.raises(Closed):  # noqa: PT012 - the items before the end are compared below
        while True:
            output.append(queue.get())
    producer.join()
    assert output == items
    assert queue.dropped == 0


@given(st.lists(st.integers(), min_size=1, max_size=50), st.integers(1, 4))
def test_a_queue_that_drops_the_oldest_keeps_the_newest_and_counts_the_rest(items, capacity):
    queue = BoundedQueue(capacity, drop_oldest=True)
    for item in items:
        queue.put(item)
    newest = items[-capacity:]
    assert [queue.get() for _ in newest] == newest
    assert queue.dropped == len(items) - len(newest)
    assert queue.get(timeout_s=0.0) is None


def test_close_wakes_a_waiting_consumer():
    queue = BoundedQueue(1)
    awake = threading.Event()

    def consume():
        with pytest.raises(Closed):
            queue.get()
        awake.set()

    threading.Thread(target=consume).start()
    time.sleep(0.05)
    queue.close()
    assert awake.wait(60)


def test_close_wakes_a_waiting_producer():
    queue = BoundedQueue(1)
    queue.put(1)
    awake = threading.Event()

    def produce():
        with pytest.raises(Closed):
            queue.put(2)
        awake.set()

    threading.Thread(target=produce).start()
    time.sleep(0.05)
    queue.close(discard=True)
    assert awake.wait(60)
    with pytest.raises(Closed):
        queue.get()


@pytest.mark.parametrize("drop_oldest", [False, True])
def test_every_item_is_taken_or_counted_while_both_ends_run(drop_oldest):
    queue = BoundedQueue(1, drop_oldest=drop_oldest)
    count = 20_000

    def produce():
        for number in range(count):
            queue.put(number)
        queue.close()

    producer = threading.Thread(target=produce)
    producer.start()
    taken = []
    with pytest.raises(Closed):  # noqa: PT012 - the items before the end are compared below
        while True:
            taken.append(queue.get())
    producer.join()
    assert taken == sorted(set(taken))
    assert taken[-1] == count - 1
    assert len(taken) + queue.dropped == count
    assert drop_oldest or queue.dropped == 0


@pytest.mark.parametrize("drop_oldest", [False, True])
def test_a_closed_queue_stays_closed_at_both_ends(drop_oldest):
    queue = BoundedQueue(2, drop_oldest=drop_oldest)
    queue.put(1)
    queue.put(2)
    queue.close()
    for _ in range(3):
        with pytest.raises(Closed):
            queue.put(3)
    assert [queue.get(), queue.get(0.0)] == [1, 2]
    for _ in range(3):
        with pytest.raises(Closed):
            queue.get()
    queue.close(discard=True)
    with pytest.raises(Closed):
        queue.get(0.0)
    with pytest.raises(Closed):
        queue.put(4)
