"""Results of an evaluation so far, in a file: an evaluation that was killed goes on from there.

Each image is one line with a checksum. A line that was cut is dropped, so its image is measured again. Files are text
and hold numbers only: reading one runs no code.
"""

import base64
import binascii
import hashlib
import json
import os
import zlib
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from camrt import __version__
from camrt.errors import UsageError
from camrt.exclusive_file import open_exclusive
from camrt.files import file_sha256, write_error
from camrt.runtime.evaluation.datasets.labelled import Dataset
from camrt.runtime.inference.model import Model
from camrt.runtime.inference.providers import onnxruntime

_FIRST: Final = b"camrt partial evaluation 1 "


@dataclass(frozen=True, slots=True)
class ImageScores:
    """Everything that an evaluation keeps of one image."""

    name: str
    objects: Mapping[str, Sequence[Mapping[str, Any]]]
    """By map source, for each object its rows by metric."""
    lines: Sequence[Mapping[str, Any]]
    """Entries for the table of images."""
    milliseconds: float
    """Of preprocessing, inference and one map."""
    reason: str = ""
    """Reason why the image was skipped; the rest is empty then."""
    passes: int = 0
    """Number of further images that the model classified for the metrics of faithfulness."""
    seconds: float = 0.0
    """Seconds that these metrics took."""


class PartialResults:
    """A file of results, locked until it is closed."""

    def __init__(self, path: Path, settings: Mapping[str, str]) -> None:
        """Open a file, or create it.

        Args:
            path: the file.
            settings: everything that the results depend on, by its name for messages; see `settings_of`.

        Raises:
            UsageError: the file has other settings, is no such file, or another process writes it.
            SinkError: it cannot be written.
        """
        if path.exists() and not path.is_file():
            raise UsageError(f"{path} is no regular file; name another with --resume")
        self.path = path
        self._stored: dict[int, deque[bytes]] = {}
        self._file = open_exclusive(path, keep=True)
        try:
            end = self._read(settings)
            os.ftruncate(self._file, end)
            os.lseek(self._file, end, os.SEEK_SET)
            if not end:
                self._write(_FIRST + json.dumps(dict(settings), ensure_ascii=True).encode() + b"\n")
        except BaseException:
            os.close(self._file)
            raise
        self.images = sum(map(len, self._stored.values()))
        """Number of images that the file had when it was opened."""
        self._added = 0

    def _read(self, settings: Mapping[str, str]) -> int:
        """Read the lines that are whole; returns the number of their bytes."""
        with self.path.open("rb") as file:
            first = file.readline()
            if not first or (first.startswith(_FIRST) and not first.endswith(b"\n")):
                return 0
            if not first.startswith(_FIRST):
                raise UsageError(f"{self.path} is no file of partial results; name another with --resume")
            before = json.loads(first[len(_FIRST) :])
            if changed := [name for name in {**before, **settings} if before.get(name) != settings.get(name)]:
                raise UsageError(
                    f"{self.path} was begun with another {' and another '.join(changed)}; delete it to begin again, or "
                    "name another file"
                )
            end = len(first)
            for line in file:
                try:
                    checksum, section, payload = line.split()
                    if not line.endswith(b"\n") or int(checksum, 16) != zlib.crc32(payload):
                        break
                    self._stored.setdefault(int(section), deque()).append(payload)
                except ValueError:
                    break
                end += len(line)
            return end

    def _write(self, line: bytes) -> None:
        left = memoryview(line)
        try:
            while left:  # a disk that becomes full takes a part
                left = left[os.write(self._file, left) :]
        except OSError as error:
            raise write_error(self.path, error) from error

    def section(self, number: int) -> "Section":
        """Return the results of one of several models."""
        return Section(self, number)

    def take(self, section: int) -> ImageScores | None:
        """Return the next image that a section has; None: there is none any more."""
        lines = self._stored.get(section)
        return _decoded(lines.popleft()) if lines else None

    def add(self, section: int, scores: ImageScores) -> None:
        """Write an image. Raises: DiskFull, SinkError."""
        payload = _encoded(scores)
        self._write(b"%08x %d %b\n" % (zlib.crc32(payload), section, payload))
        self._added += 1

    def close(self, *, finished: bool) -> None:
        """Release the file; remove it if the evaluation is finished, or if it has no image."""
        if finished or not self.images + self._added:
            self.path.unlink(missing_ok=True)
        os.close(self._file)


@dataclass(frozen=True, slots=True)
class Section:
    """The part of a file that belongs to one model."""

    results: PartialResults
    number: int

    def take(self) -> ImageScores | None:
        """Return the next image; None: it is to be measured."""
        return self.results.take(self.number)

    def add(self, scores: ImageScores) -> None:
        """Write an image."""
        self.results.add(self.number, scores)


def settings_of(models: Sequence[Model], dataset: Dataset, **options: object) -> dict[str, str]:
    """Return everything that results depend on, by its name for messages.

    Args:
        models: their files count by content.
        dataset: its files count by size and time of change.
        options: of the evaluation.
    """
    settings = {"version of camrt or ONNX Runtime": f"{__version__}, {onnxruntime().__version__}"}
    for number, model in enumerate(models):
        settings[f"model file ({number + 1} of {len(models)})"] = f"{file_sha256(model.path)} {model.head_name}"
        settings[f"provider or number of threads ({number + 1} of {len(models)})"] = (
            f"{model.provider} {sorted(model.provider_options.items())} {model.threads}"
        )
    settings["state of the data"] = _digest(dataset)
    return settings | {f"value of {name}": repr(value) for name, value in options.items()}


def _digest(dataset: Dataset) -> str:
    digest = hashlib.sha256(repr(sorted(dataset.synonyms.items())).encode("utf-8", "backslashreplace"))
    for image in dataset.images:
        masks = [mask for target in image.targets for mask in target.masks]
        states = [_state(file) for file in (image.image, *masks) if isinstance(file, Path)]
        entry = f"{image.name} {image.targets} {image.size} {image.problem} {states}\n"
        digest.update(entry.encode("utf-8", "backslashreplace"))
    return digest.hexdigest()


def _state(path: Path) -> tuple[str, int, int]:
    try:
        status = path.stat()
    except OSError:
        return str(path), 0, 0
    return str(path), status.st_size, status.st_mtime_ns


def _encoded(scores: ImageScores) -> bytes:
    value = asdict(scores)
    value["objects"] = {
        source: [{name: _text(row) for name, row in one.items()} for one in some]
        for source, some in scores.objects.items()
    }
    return base64.b64encode(zlib.compress(json.dumps(value).encode()))


def _text(row: Any) -> tuple[str, tuple[int, ...], str]:
    array = np.asarray(row)
    return array.dtype.str, array.shape, base64.b64encode(array.tobytes()).decode()


def _decoded(payload: bytes) -> ImageScores:
    value = json.loads(zlib.decompress(binascii.a2b_base64(payload)))
    value["objects"] = {
        source: [{name: _array(*row) for name, row in one.items()} for one in some]
        for source, some in value["objects"].items()
    }
    return ImageScores(**value)


def _array(dtype: str, shape: Sequence[int], data: str) -> Any:
    return np.frombuffer(base64.b64decode(data), np.dtype(dtype)).reshape(shape)
