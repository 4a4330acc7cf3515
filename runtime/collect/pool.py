"""Pool of worker processes that turns tasks into rows, in the order of the tasks."""

import os
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from typing import Final

from camrt.errors import CamrtError
from camrt.runtime.collect.items import Item
from camrt.runtime.collect.rows import Row, Seconds, broken_row
from camrt.runtime.collect.worker import Setup

_QUEUED: Final = 2
"""Tasks of a worker: the one it works on, and the next, so that it never waits."""
_WINDOW: Final = 16
"""Tasks for each worker that may be done before their turn. A slow task does not stop the others at once."""
_DEATHS: Final = 2
"""Workers that may end on the same image before it counts as broken."""
_FAILED_STARTS: Final = 3
"""Workers that may end in a row before they are ready."""
_WAIT_S: Final = 0.2
_PROGRAM: Final = "import sys; from camrt.runtime.collect.worker import work; work(int(sys.argv[1]))"


@dataclass(slots=True)
class _Batch:
    """Items that were handed in together, and their rows so far."""

    items: list[Item]
    rows: list[Row | None]
    left: int


@dataclass(slots=True)
class _Task:
    """A part of a batch; its number is unique."""

    number: int
    batch: _Batch
    begin: int
    end: int
    deaths: int = 0


@dataclass(slots=True, eq=False)
class _Worker:
    process: "subprocess.Popen[bytes]"
    connection: Connection
    ready: bool = False
    tasks: deque[_Task] = field(default_factory=deque)
    """In the order in which it works on them."""


class WorkerPool:
    """Worker processes with a session each. A worker that ends is replaced, and its tasks are done again.

    An image on which two workers end, one after the other, gets a row with an error.
    """

    def __init__(self, setup: Setup, workers: int, stopped: Callable[[], bool]) -> None:
        """Take the settings; workers start with the first task.

        Args:
            setup: how each worker opens the model.
            workers: largest number of processes.
            stopped: is called often; when it returns True, `rows` ends.
        """
        self.seconds = Seconds()
        """Time that all rows took, in the workers."""
        self.ready_at: float | None = None
        """`time.perf_counter` when the first worker was ready."""
        self.replaced = 0
        """Workers that ended and were replaced."""
        self._setup = setup
        self._most = workers
        self._stopped = stopped
        self._workers: list[_Worker] = []
        self._waiting: deque[_Task] = deque()
        self._batches: dict[int, _Batch] = {}
        self._numbers = 0
        self._failed_starts = 0

    def rows(self, batches: Iterator[Sequence[Item]]) -> Iterator[tuple[Item, Row]]:
        """Yield each item with its row, in order.

        Raises:
            CamrtError: the workers cannot start, or the model cannot run.
        """
        following, handed_in = 0, 0
        more = True

        def may_take() -> bool:
            return more and len(self._waiting) < self._most and handed_in - following < _WINDOW * self._most

        while not self._stopped():
            while may_take():
                items = next(batches, None)
                more = items is not None
                if items is not None:
                    self._batches[handed_in] = batch = _Batch(list(items), [None] * len(items), len(items))
                    self._waiting.append(self._task(batch, 0, len(items)))
                    handed_in += 1
                if self._idle():
                    break  # workers come first: reading the inputs may take long
            self._feed()
            while following in self._batches and not self._batches[following].left:
                batch = self._batches.pop(following)
                following += 1
                for item, row in zip(batch.items, batch.rows, strict=True):
                    assert row is not None
                    yield item, row
            if not self._batches and not more:
                return
            self._receive(0.0 if may_take() else _WAIT_S)

    def close(self) -> None:
        """End the workers at once."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.wait()
            worker.connection.close()
        self._workers.clear()

    def _task(self, batch: _Batch, begin: int, end: int, deaths: int = 0) -> _Task:
        self._numbers += 1
        return _Task(self._numbers, batch, begin, end, deaths)

    def _idle(self) -> bool:
        """Tell whether a worker has nothing to do, or could be started."""
        return len(self._workers) < self._most or any(one.ready and not one.tasks for one in self._workers)

    def _feed(self) -> None:
        """Give each worker its tasks, the ones with the fewest first."""
        while len(self._workers) < min(self._most, len(self._waiting) + sum(not one.ready for one in self._workers)):
            self._workers.append(self._start())
        for queued in range(_QUEUED):
            for worker in list(self._workers):
                if self._waiting and worker.ready and len(worker.tasks) == queued:
                    task = self._waiting.popleft()
                    worker.tasks.append(task)
                    try:
                        worker.connection.send((task.number, task.batch.items[task.begin : task.end]))
                    except OSError:
                        self._bury(worker)

    def _receive(self, wait_s: float) -> None:
        for connection in wait([worker.connection for worker in self._workers], wait_s):
            worker = next(one for one in self._workers if one.connection is connection)
            try:
                message = worker.connection.recv()
            except (EOFError, OSError):
                self._bury(worker)
                continue
            if message[0] == "failed":
                raise CamrtError(message[1])
            if message[0] == "ready":
                worker.ready = True
                self._failed_starts = 0
                self.ready_at = self.ready_at or time.perf_counter()
                continue
            _, number, rows, seconds = message
            task = worker.tasks.popleft()
            assert task.number == number
            self.seconds.add(seconds)
            self._fill(task, rows)

    def _fill(self, task: _Task, rows: Sequence[Row]) -> None:
        task.batch.rows[task.begin : task.end] = rows
        # The pixels of frames are not needed while the rows wait for their turn.
        done = task.batch.items[task.begin : task.end]
        task.batch.items[task.begin : task.end] = [replace(item, frame=None) for item in done]
        task.batch.left -= len(rows)

    def _bury(self, worker: _Worker) -> None:
        """Hand the tasks of a worker that has ended to others."""
        self._workers.remove(worker)
        worker.connection.close()
        worker.process.kill()
        status = worker.process.wait()
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts == _FAILED_STARTS:
                raise CamrtError(f"worker processes end before they are ready ({_words(status)}); try fewer --workers")
            return
        self.replaced += 1
        again = list(worker.tasks)
        current, later = again[:1], again[1:]
        for task in current:
            if task.end - task.begin > 1:  # one of its images may be the reason: find out which
                again = [self._task(task.batch, place, place + 1) for place in range(task.begin, task.end)] + later
            elif task.deaths + 1 < _DEATHS:
                again = [self._task(task.batch, task.begin, task.end, task.deaths + 1), *later]
            else:
                item = task.batch.items[task.begin]
                reason = f"{item.path}: {_DEATHS} worker processes ended while they read it ({_words(status)})"
                self._fill(task, [broken_row(item, reason)])
                again = later
        self._waiting.extendleft(reversed(again))

    def _start(self) -> _Worker:
        ours, theirs = socket.socketpair()
        with theirs:
            path = os.pathsep.join(entry for entry in sys.path if entry)
            process = subprocess.Popen(
                # -P: a json.py in the current folder would run in place of the library's.
                [sys.executable, "-P", "-c", _PROGRAM, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=os.environ | {"PYTHONPATH": path},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                process_group=0,  # Ctrl-C ends the pool, and the pool ends the workers
            )
        worker = _Worker(process, Connection(ours.detach()))
        with suppress(OSError):  # it has ended already; its end is reported where all are
            worker.connection.send(self._setup)
        return worker


def _words(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"exit status {status}"
