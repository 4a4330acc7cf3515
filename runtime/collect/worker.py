"""Worker process of a collection: a session of its own, which turns items into rows.

It is a fresh interpreter that the pool starts with a connected socket. So it inherits no threads or locks, and it does
not run the user's script again, as `multiprocessing` would.
"""

import os
import queue
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from camrt.errors import CamrtError
from camrt.files import file_sha256
from camrt.model_file import InputGeometry
from camrt.runtime.collect.rows import Seconds, make_row


@dataclass(frozen=True, slots=True)
class Setup:
    """How a worker opens the model."""

    path: Path
    sha256: str
    provider: str
    provider_options: Mapping[str, str]
    labels: tuple[str, ...]
    geometry: InputGeometry
    head: str | None
    threads: int


def work(descriptor: int) -> None:
    """Answer the tasks that arrive on a socket until it is closed.

    Messages to the worker: `Setup`, then ``(number, items)``. Its answers: ``("ready",)``, then
    ``("rows", number, rows, seconds)``; or ``("failed", message)``, after which it ends.
    """
    connection = Connection(descriptor)
    try:
        setup: Setup = connection.recv()
        tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
        # The thread takes tasks at any time: else both ends could wait until the other one reads. It also ends a worker
        # that still opens the model when the pool ends.
        threading.Thread(target=_receive, args=(connection, tasks), daemon=True).start()
        try:
            model = _open(setup)
        except CamrtError as error:
            connection.send(("failed", str(error)))
            return
        connection.send(("ready",))
        while True:
            number, items = tasks.get()
            seconds = Seconds()
            try:
                rows = [make_row(model, item, seconds) for item in items]
            except Exception as error:  # noqa: BLE001 - of the provider: ONNX Runtime's errors share no other root
                names = f"{items[0].path} to {items[-1].path}"
                connection.send(("failed", f"{setup.path} cannot be run on {names}: {error or type(error).__name__}"))
                return
            connection.send(("rows", number, rows, seconds))
    except (EOFError, OSError):  # the pool has ended
        return


def _open(setup: Setup) -> Any:
    import cv2

    from camrt.runtime.inference.model import load
    from camrt.video_decoding.capture import quiet_decoders

    quiet_decoders()
    cv2.setNumThreads(setup.threads)
    if file_sha256(setup.path) != setup.sha256:
        raise CamrtError(f"{setup.path} has changed since the run began; start the command again")
    return load(
        setup.path,
        setup.provider,
        setup.threads,
        provider_options=setup.provider_options,
        labels=setup.labels,
        geometry=setup.geometry,
        head=setup.head,
    )


def _receive(connection: Connection, tasks: "queue.SimpleQueue[Any]") -> None:
    try:
        while True:
            tasks.put(connection.recv())
    except (EOFError, OSError):
        os._exit(0)  # the pool has ended, however it did; a row that is half done is of no use
