"""Results of a store, in place of the model's, for `camrt.evaluate`."""

import hashlib
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from camrt.errors import SourceError
from camrt.geometry import place
from camrt.images import Image
from camrt.runtime.collect.rows import dequantize_map
from camrt.runtime.collect.store import MapStore
from camrt.runtime.evaluation.datasets.labelled import LabelledImage
from camrt.runtime.evaluation.scoring import best_class
from camrt.runtime.maps.decoder import MapDecoder
from camrt.runtime.maps.result import Map, Result

WITHOUT_MODEL: Final = (
    "left out for stored maps: the cost, the baseline 'activation', and metrics of further forward passes; they need "
    "the model"
)
_ONE_MAP: Final = ("cam_class", "cam", "cam_low", "cam_high", "cam_score")
_COLUMNS: Final = (*_ONE_MAP, "more_cams", "cam_shape", "class_ids", "scores", "width", "height", "error")
_TABLES: Final = 4
"""Shards in memory. Data and store mostly have the same order."""


class StoredResult(Result):
    """Scores and maps of a row. It has the best scores and the maps that were stored; the other scores are NaN."""

    def __init__(self, decoder: MapDecoder, row: dict[str, Any], placement: Any) -> None:
        """Decode a row of the store, whose image could be read."""
        stored = [{key: row[key] for key in _ONE_MAP}, *row["more_cams"]]
        scores = np.full(decoder.classes, np.nan, np.float32)
        scores[row["class_ids"]] = row["scores"]
        for one in stored:
            scores[one["cam_class"]] = one["cam_score"]
        rows, columns = row["cam_shape"]
        maps = [dequantize_map(one["cam"], (rows, columns), one["cam_low"], one["cam_high"]) for one in stored]
        super().__init__(decoder, scores=scores, logits=scores, maps=np.stack(maps), placement=placement, stages_ms={})
        self.stored = [one["cam_class"] for one in stored]
        """Classes of ``maps``."""

    def cams(self, class_ids: Sequence[int] | None = None) -> Map:
        """Return the stored maps of classes: float32 (k, h, w). Raises: SourceError: one was not stored."""
        wanted = self.stored if class_ids is None else class_ids
        if missing := [number for number in wanted if number not in self.stored]:
            raise SourceError(f"the store has no map of {self.label(missing[0])!r} for this image")
        return np.asarray(self.maps[[self.stored.index(number) for number in wanted]], np.float32)


class StoredMaps:
    """The maps of a store as a `camrt.runtime.evaluation.map_provider.MapProvider`.

    An image is found by the SHA-1 of its file. Where the file is missing, its path decides: the row whose path has the
    same last parts.
    """

    def __init__(self, store: MapStore) -> None:
        """Read the names of all images of the store. Raises: SourceError: a shard is damaged."""
        manifest = store.manifest
        self.path = store.path
        self.labels = manifest.labels
        self.geometry = manifest.geometry
        remarks = [WITHOUT_MODEL]
        if not manifest.complete:
            remarks.append(f"{store.path} is not complete: camrt collect was interrupted; run it again to go on")
        self.remarks: Sequence[str] = remarks
        self._store = store
        self._decoder = MapDecoder(self.labels, None, np.zeros(len(self.labels), np.float32))
        self._by_sha1: dict[bytes, list[tuple[int, int]]] = {}
        self._by_name: dict[str, list[tuple[int, int]]] = {}
        self._paths: list[Any] = []
        for shard, table in enumerate(store.tables(["path", "sha1"])):
            self._paths.append(table.column("path"))
            paths, hashes = table.column("path").to_pylist(), table.column("sha1").to_pylist()
            for row, (path, sha1) in enumerate(zip(paths, hashes, strict=True)):
                self._by_name.setdefault(Path(path).name, []).append((shard, row))
                if sha1:
                    self._by_sha1.setdefault(bytes.fromhex(sha1), []).append((shard, row))
        self._tables: dict[int, Any] = {}
        self._newest: tuple[Image, Result] | None = None

    def image_of(self, labelled: LabelledImage, class_ids: Sequence[Sequence[int]]) -> Image:
        """Return a black image of the size of an image, see `MapProvider`. Raises: SourceError."""
        if labelled.problem:
            raise SourceError(labelled.problem)
        reason = ""
        for place_of_row in self._places(labelled):
            row = self._row(*place_of_row)
            if row["error"] is not None:
                reason = reason or row["error"]
                continue
            placement = place(self.geometry, row["width"], row["height"])
            result = StoredResult(self._decoder, row, placement)
            missing = [number for ids in class_ids if (number := best_class(result, ids)) not in result.stored]
            if missing:
                reason = (
                    f"{labelled.name}: {self.path} has no map of {self.labels[missing[0]]!r} for it; collect again "
                    "with these data as the input"
                )
                continue
            image = np.broadcast_to(np.zeros(1, np.uint8), (row["height"], row["width"], 3))
            self._newest = image, result
            return image
        raise SourceError(reason or f"{labelled.name}: {self.path} has no row of this file; it is new, or has changed")

    def __call__(self, image: Image) -> Result:
        """Return the result of the image that `image_of` returned last."""
        assert self._newest is not None
        newest, result = self._newest
        assert image is newest
        return result

    def _places(self, labelled: LabelledImage) -> list[tuple[int, int]]:
        """Return shard and row of an image, the ones whose path is most like its own first."""
        if not isinstance(labelled.image, Path):
            return []
        file = labelled.image
        if file.exists():
            if not file.is_file():
                raise SourceError(f"{file} is no regular file")  # a pipe or a device would never end
            try:
                data = file.read_bytes()
            except OSError as error:
                raise SourceError(f"{file} cannot be read: {error.strerror}") from error
            found = self._by_sha1.get(hashlib.sha1(data, usedforsecurity=False).digest(), [])
            return sorted(found, key=lambda one: -self._shared(one, file))
        found = self._by_name.get(file.name, [])
        best = max((self._shared(one, file) for one in found), default=0)
        found = [one for one in found if self._shared(one, file) == best]
        if len(found) > 1:
            raise SourceError(
                f"{labelled.name}: {len(found)} rows of {self.path} have this name, and the file is missing"
            )
        return found

    def _shared(self, one: tuple[int, int], file: Path) -> int:
        """Return how many last parts the path of a row shares with a file."""
        shard, row = one
        own = Path(self._paths[shard][row].as_py())
        pairs = zip(reversed(own.parts), reversed(file.parts), strict=False)
        return len(list(itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)))

    def _row(self, shard: int, row: int) -> dict[str, Any]:
        if shard not in self._tables:
            while len(self._tables) >= _TABLES:
                self._tables.pop(next(iter(self._tables)))
            self._tables[shard] = self._store.shard_table(shard, _COLUMNS)
        (values,) = self._tables[shard].slice(row, 1).to_pylist()
        return dict(values)
