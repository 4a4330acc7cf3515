"""Run a model over many images with worker processes, and store one row an image."""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from camrt.errors import CamrtError, SinkError, SourceError, UsageError
from camrt.files import file_sha256
from camrt.progress import Progress
from camrt.runtime.collect.inputs import open_inputs
from camrt.runtime.collect.items import Item, Items, Tally
from camrt.runtime.collect.manifest import Manifest
from camrt.runtime.collect.pool import WorkerPool
from camrt.runtime.collect.rows import Seconds
from camrt.runtime.collect.schema import arrow
from camrt.runtime.collect.store import MapStore
from camrt.runtime.collect.store_writer import StoreWriter
from camrt.runtime.collect.worker import Setup
from camrt.runtime.inference.model import Model

ENGINE: Final = "processes"
"""Name of the way in which the work is shared."""
_BATCH: Final = 8
"""Most items of a task. Rows do not depend on it: the model gets one image at a time."""
_BATCH_BYTES: Final = 4 << 20
"""Pixels of frames of a video that a task has at least, if it has fewer items."""
_MOST_ON_DEVICE: Final = 4
"""Workers by default where the model runs on a GPU: each of them holds the model in its memory."""
_ON_CPU: Final = ("cpu", "xnnpack", "openvino")
_PROGRESS_AFTER_S: Final = 2.0
_ERRORS_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Report:
    """Figures of a run."""

    store: Path
    rows: int
    """Rows of the store."""
    skipped: int
    """Rows with an error: their images could not be read."""
    new: int
    """Rows that this run has made; the others are of earlier runs."""
    seconds: float
    """From the moment the first worker was ready."""
    workers: int
    threads: int
    """Threads of each worker."""
    shares: Seconds
    """Seconds of all workers, by kind of work."""
    stopped: bool
    """The run was stopped before the end."""
    remarks: Sequence[str]

    @property
    def images_per_second(self) -> float | None:
        """Rate of this run; None: it had nothing to do."""
        return self.new / self.seconds if self.new and self.seconds else None

    @property
    def decode_share(self) -> float | None:
        """Share of the workers' time for reading and decoding files; None: it had nothing to do."""
        return self.shares.decode / self.shares.total if self.shares.total else None


class Collector:
    """Collects the maps of images. `stop` ends it early, with every finished row written."""

    def __init__(
        self,
        model: Model,
        images: Sequence[str | Path],
        path: str | Path,
        *,
        every: int = 1,
        classes: Path | None = None,
        workers: int | None = None,
        overwrite: bool = False,
    ) -> None:
        """Check the arguments and read the names of all images; see `collect`."""
        arrow()  # a missing package is reported before the work begins
        if every < 1:
            raise UsageError(f"every {every}: at least 1")
        if workers is not None and workers < 1:
            raise UsageError(f"workers {workers}: at least 1")
        self._model = model
        self._path = Path(path)
        self._overwrite = overwrite
        self._stopped = False
        inputs = open_inputs(images, classes)
        self._items = Items(inputs, model.labels, model.path.name, every=every)
        most = model.threads if model.provider in _ON_CPU else min(model.threads, _MOST_ON_DEVICE)
        self._workers = workers or most
        # One thread for each worker is fastest: a session with one thread never waits for another one.
        self._threads = max(1, model.threads // self._workers)
        self._manifest = Manifest(
            model=str(model.path),
            model_sha256=file_sha256(model.path),
            head=model.head_name,
            head_kind=model.head,
            provider=model.provider,
            labels=model.labels,
            geometry=model.geometry,
            every=every,
            classes=self._items.classes,
            inputs=tuple(map(str, images)),
        )

    def stop(self) -> None:
        """End the run: the rows that are done are written, and the next run goes on from there."""
        self._stopped = True

    def run(self) -> Report:
        """Collect the rows that the store does not have yet.

        Raises:
            UsageError: there is no image, or the store belongs to another model, to other options or other images.
            SourceError: an input cannot be read, or no image could be.
            DiskFull, SinkError: the store cannot be written; the rows before are whole.
            CamrtError: the model cannot be run.
        """
        model = self._model
        setup = Setup(
            path=model.path.absolute(),
            sha256=self._manifest.model_sha256,
            provider=model.provider,
            provider_options=model.provider_options,
            labels=model.labels,
            geometry=model.geometry,
            head=model.head_name,
            threads=self._threads,
        )
        remarks, errors = Tally(), list[str]()
        pool = WorkerPool(setup, self._workers, lambda: self._stopped)
        progress = Progress(None, "images", after_s=_PROGRESS_AFTER_S)
        before = 0
        with (
            StoreWriter(self._path, self._manifest, overwrite=self._overwrite) as writer,
            closing(pool),
            closing(progress),
        ):
            before = writer.done
            try:
                for item, row in pool.rows(_batches(self._remaining(writer))):
                    writer.add(row.values, item.chain)
                    if len(errors) < _ERRORS_SHOWN and (error := row.values.get("error")):
                        errors.append(f"no map: {error}")
                    if row.remark:
                        remarks.add(item.path, row.remark)
                    progress.total = max(0, self._items.expected - before)
                    progress.step()
            except SinkError:
                raise
            except (KeyboardInterrupt, CamrtError):
                writer.flush()
                raise
            ended = time.perf_counter()
            if self._stopped:
                writer.flush()
            else:
                writer.finish()
        lines = [*self._items.remarks, *self._items.left_out.lines("left out"), *remarks.lines("remark")]
        lines += errors
        if writer.skipped > len(errors):
            lines.append(f"no map: {writer.skipped - len(errors)} more; the column 'error' has the reasons")
        if not writer.done and not self._stopped:
            raise UsageError("; ".join(["there is no image in the inputs", *lines]))
        if writer.skipped == writer.done and not self._stopped:
            raise SourceError(f"none of the {writer.done} images could be read; {self._path} has the reasons")
        return Report(
            store=self._path,
            rows=writer.done,
            skipped=writer.skipped,
            new=writer.done - before,
            seconds=ended - (pool.ready_at or ended),
            workers=self._workers,
            threads=self._threads,
            shares=pool.seconds,
            stopped=self._stopped,
            remarks=lines,
        )

    def _remaining(self, writer: StoreWriter) -> Iterator[Item]:
        """Yield the items after those that the store has, which must be the first ones of these inputs."""
        number = 0
        for number, item in enumerate(self._items, 1):
            if number == writer.done and item.chain != writer.chain:
                raise UsageError(
                    f"the first {writer.done} images are not those of {self._path}: files or their classes were "
                    "added, removed or changed since it was begun; choose another name, or start again with --overwrite"
                )
            if number > writer.done:
                yield item
        if number < writer.done and not self._stopped:
            raise UsageError(
                f"{self._path} has {writer.done} rows, and there are only {number} images; choose another name, or "
                "start again with --overwrite"
            )


def collect(
    model: Model,
    images: str | Path | Sequence[str | Path],
    path: str | Path,
    *,
    every: int = 1,
    classes: Path | None = None,
    workers: int | None = None,
    overwrite: bool = False,
) -> MapStore:
    """Run a model over many images in worker processes, and store classes and maps, one row an image.

    A run that was interrupted, even by SIGKILL, goes on when it is called again. The rows are the same for any number
    of workers and of interruptions. Memory does not grow with the number of images.

    Args:
        model: the model. Each worker opens its file.
        images: folders (their sub-folders are classes and groups), images, videos, lists of paths in text files, tables
            of labels (``.csv``, ``.json``), and globs; or one of them.
        path: the store: a folder, by custom with a name that ends in ``.parquet``.
        every: take every so many frames of a video.
        classes: a table from names of folders and classes to labels of the model, as for `camrt.evaluate`.
        workers: number of processes; None: one for each of the model's threads. They share these threads.
        overwrite: start again, where there is a store.

    Raises:
        MissingExtra: pyarrow (extra ``judge``) is not installed.
        UsageError: an argument is wrong, there is no image, or the store belongs to another model, to other options or
            other images.
        SourceError: an input cannot be read, or no image could be.
        DiskFull, SinkError: the store cannot be written.
    """
    several = [images] if isinstance(images, (str, Path)) else list(images)
    collector = Collector(model, several, path, every=every, classes=classes, workers=workers, overwrite=overwrite)
    collector.run()
    return MapStore(path)


def _batches(items: Iterator[Item]) -> Iterator[list[Item]]:
    """Yield the items in tasks."""
    batch: list[Item] = []
    size = 0
    for item in items:
        batch.append(item)
        size += 0 if item.frame is None else item.frame.nbytes
        if len(batch) == _BATCH or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
