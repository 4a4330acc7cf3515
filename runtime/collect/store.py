"""Read a store of maps."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from camrt.errors import SourceError
from camrt.runtime.collect.manifest import read_manifest, shards_of
from camrt.runtime.collect.schema import arrow

if TYPE_CHECKING:
    import pyarrow


class MapStore:
    """A folder of Parquet shards with one row an image, as `camrt.collect` writes it.

    `camrt.runtime.collect.schema.schema` describes the columns. ``pyarrow.dataset.dataset(path)`` and
    ``pandas.read_parquet(path)`` read the folder, too.
    """

    def __init__(self, path: str | Path) -> None:
        """Open a store; its rows are read later.

        Raises:
            MissingExtra: pyarrow (extra ``judge``) is not installed.
            MissingInput: there is nothing at the path.
            UsageError: the path is no store.
            SourceError: the store is damaged.
        """
        self._arrow = arrow()
        self.path = Path(path)
        self.manifest = read_manifest(self.path)
        """Model, options and state of the run that made the rows."""
        self._shards = shards_of(self.path)

    def __len__(self) -> int:
        """Return the number of rows."""
        return sum(self._read_footer(shard) for shard in self._shards)

    @property
    def shards(self) -> Sequence[Path]:
        """The Parquet files, in the order of their rows."""
        return self._shards

    def tables(self, columns: Sequence[str] | None = None) -> Iterator["pyarrow.Table"]:
        """Yield the rows of one shard after the other, so that memory does not grow with the store.

        Args:
            columns: names of the columns to read; None: all.

        Raises:
            SourceError: a shard is damaged.
        """
        for number in range(len(self._shards)):
            yield self.shard_table(number, columns)

    def shard_table(self, number: int, columns: Sequence[str] | None = None) -> "pyarrow.Table":
        """Return the rows of a shard. Raises: SourceError."""
        shard = self._shards[number]
        try:
            with self._arrow.parquet.ParquetFile(shard) as file:
                return file.read(None if columns is None else list(columns))
        except (self._arrow.ArrowException, OSError) as error:
            raise _damaged(shard, error) from error

    def _read_footer(self, shard: Path) -> int:
        try:
            return int(self._arrow.parquet.read_metadata(shard).num_rows)
        except (self._arrow.ArrowException, OSError) as error:
            raise _damaged(shard, error) from error


def _damaged(shard: Path, error: Any) -> SourceError:
    return SourceError(f"{shard} is damaged ({str(error)[:100]}); delete it and the shards after it, and collect again")
