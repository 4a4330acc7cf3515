"""Manifest of a store: the model and the options that made its rows, and the state of the run."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from camrt import __version__
from camrt.errors import MissingInput, ModelFileError, SourceError, UsageError
from camrt.files import write_file
from camrt.model_file import InputGeometry

NAME: Final = "_manifest.json"
"""Readers of Parquet folders skip names that begin with an underscore."""
FORMAT: Final = 1
SHARDS: Final = "rows-*.parquet"


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything that the rows of a store depend on besides the images, and how far the run has come."""

    model: str
    """Path of the model file, as it was given."""
    model_sha256: str
    head: str | None
    """Name of the head, of a file with several."""
    head_kind: str
    provider: str
    labels: tuple[str, ...]
    geometry: InputGeometry
    every: int
    """Frames of a video from one row to the next."""
    classes: Mapping[str, list[int]] = field(default_factory=dict)
    """Numbers of the model's classes for each label of the rows."""
    inputs: tuple[str, ...] = ()
    complete: bool = False
    """All images have their row."""
    rows: int = 0
    """Number of rows; counted again from the shards if the run was interrupted."""
    skipped: int = 0
    """Rows with an error."""
    version: str = __version__

    def difference(self, other: "Manifest") -> str:
        """Return the first thing in which ``other`` would give other rows; empty: nothing."""
        if self.model_sha256 != other.model_sha256:
            return f"another model file, {self.model}"
        if self.head != other.head:
            return f"head {self.head!r} of the model"
        if self.provider != other.provider:
            return f"--provider {self.provider}"
        if self.every != other.every:
            return f"--every {self.every}"
        if self.labels != other.labels:
            return "other labels"
        if self.geometry != other.geometry:
            return "another way to fit images to the network"
        return ""

    def write(self, folder: Path) -> None:
        """Write the manifest into a store, whole or not at all. Raises: DiskFull, SinkError."""
        data = {"camrt_map_store": FORMAT, **asdict(self)}
        write_file(folder / NAME, (json.dumps(data, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "replace"))


def is_store(path: Path) -> bool:
    """Tell whether a path is a folder that `camrt collect` made."""
    return (path / NAME).is_file()


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a store.

    Raises:
        MissingInput: there is nothing at the path.
        UsageError: the path is no store.
        SourceError: the manifest is damaged, or of a newer camrt.
    """
    if not folder.exists():
        raise MissingInput(f"there is nothing at {folder}")
    path = folder / NAME
    if not path.is_file():
        raise UsageError(f"{folder} is no map store: it has no {NAME}; make one with camrt collect")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        version = data.pop("camrt_map_store")
        if version != FORMAT:
            raise SourceError(f"{folder} is a map store of format {version}, this camrt reads {FORMAT}; update camrt")
        geometry = InputGeometry(**data.pop("geometry"))
        labels, inputs = tuple(data.pop("labels")), tuple(data.pop("inputs"))
        return Manifest(**data, geometry=geometry, labels=labels, inputs=inputs)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ModelFileError) as error:
        raise SourceError(f"{path} is damaged ({error}); run camrt collect again with --overwrite") from error


def shards_of(folder: Path) -> list[Path]:
    """Return the shards of a store in the order of their rows."""
    return sorted(folder.glob(SHARDS))
