"""Write a store: shards of rows, each whole or not at all, so that a run goes on where it was interrupted."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from camrt.errors import DiskFull, SourceError, UsageError
from camrt.exclusive_file import open_exclusive
from camrt.files import write_error, write_file
from camrt.runtime.collect.manifest import NAME, SHARDS, Manifest, is_store, read_manifest, shards_of
from camrt.runtime.collect.schema import METADATA, arrow, encode_shard

SHARD_ROWS: Final = 512
"""Most rows of a shard: a killed process loses fewer."""
_LOCK: Final = "_lock"


class StoreWriter:
    """Rows in order, written to a folder that this process alone writes to. A context manager."""

    def __init__(self, folder: Path, manifest: Manifest, *, overwrite: bool) -> None:
        """Create the folder, or take up the run that made it.

        Args:
            folder: the store.
            manifest: of this run.
            overwrite: start again, if there is a store.

        Raises:
            UsageError: the folder is something else, belongs to a run with another model or other options, or another
                process writes to it.
            SourceError: a shard is damaged.
            DiskFull, SinkError: the folder cannot be written.
        """
        self.folder = folder
        self._rows: list[Mapping[str, Any]] = []
        self._chain = b""
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder} is a file; name a new folder, such as maps.parquet")
        if not folder.parent.is_dir():
            raise UsageError(f"there is no folder {folder.parent}; create it first")
        if folder.is_dir() and not is_store(folder) and any(one.name[0] not in "._" for one in folder.iterdir()):
            raise UsageError(f"{folder} is a folder with other files; name a new one, such as maps.parquet")
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise write_error(folder, error) from error
        self._lock = open_exclusive(folder / _LOCK)
        try:
            self._begin(manifest, overwrite=overwrite)
        except BaseException:
            self._release()
            raise

    def _begin(self, manifest: Manifest, *, overwrite: bool) -> None:
        self.done = 0
        """Number of rows that are on the disk."""
        self.chain = b""
        """`Item.chain` of the last of them."""
        self.skipped = 0
        """Rows with an error, of all rows."""
        self.manifest = manifest
        if is_store(self.folder):
            if overwrite:
                self._remove()
            elif (difference := read_manifest(self.folder).difference(manifest)) and shards_of(self.folder):
                raise UsageError(
                    f"{self.folder} was begun with {difference}; run that again to go on, choose another name, or "
                    "start again with --overwrite"
                )
        for stray in (*self.folder.glob(f".{Path(NAME).stem}.*"), *self.folder.glob(f".{SHARDS}")):
            stray.unlink(missing_ok=True)  # half-written, by a process that was killed
        for shard in shards_of(self.folder):
            self._take_up(shard)
        manifest.write(self.folder)

    def __enter__(self) -> "StoreWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._release()

    def add(self, row: Mapping[str, Any], chain: bytes) -> None:
        """Add the next row. Raises: DiskFull, SinkError: what was written before is whole, and the run can go on."""
        self._rows.append(row)
        self._chain = chain
        self.skipped += row.get("error") is not None
        if len(self._rows) == SHARD_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write the rows that are not on the disk yet. Raises: DiskFull, SinkError."""
        if not self._rows:
            return
        own = {"first_row": self.done, "chain": self._chain.hex()}
        self._write(self.folder / f"rows-{self.done:010d}.parquet", encode_shard(self._rows, own))
        self.done += len(self._rows)
        self.chain = self._chain
        self._rows.clear()

    def finish(self) -> None:
        """Write the last rows, and that the store is complete."""
        self.flush()
        done = replace(self.manifest, complete=True, rows=self.done, skipped=self.skipped)
        done.write(self.folder)

    def _write(self, path: Path, data: bytes) -> None:
        try:
            write_file(path, data)
        except DiskFull as error:
            raise DiskFull(
                f"{error}; {self.done} rows are written; free some space and run the same command, which goes on"
            ) from error

    def _take_up(self, shard: Path) -> None:
        """Count the rows of a shard that an earlier run has written."""
        pa = arrow()
        try:
            with pa.parquet.ParquetFile(shard) as file:
                own = json.loads(file.schema_arrow.metadata[METADATA])
                first, chain, rows = own["first_row"], bytes.fromhex(own["chain"]), file.metadata.num_rows
                errors = file.read(["error"]).column("error")
        except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
            raise SourceError(
                f"{shard} is damaged ({str(error)[:100]}); delete it and the shards after it, and run again"
            ) from error
        if first != self.done:
            raise SourceError(
                f"{shard} begins at row {first}, and the shards before it end at row {self.done}; "
                "restore the missing shard, or delete those after it, and run again"
            )
        self.done += rows
        self.skipped += rows - errors.null_count
        self.chain = chain

    def _remove(self) -> None:
        """Remove the files of an earlier run, the manifest last."""
        try:
            for path in [*shards_of(self.folder), self.folder / NAME]:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise write_error(self.folder, error) from error

    def _release(self) -> None:
        """Let other processes write; nothing stays of a store without a row."""
        with suppress(OSError):
            if not shards_of(self.folder):
                (self.folder / NAME).unlink(missing_ok=True)
            (self.folder / _LOCK).unlink()
            if not any(self.folder.iterdir()):
                self.folder.rmdir()
        os.close(self._lock)
