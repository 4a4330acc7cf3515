"""Row of one image: its classes, maps, pooled features and boxes."""

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from camrt.errors import SourceError
from camrt.image_decoding import decode_pictures
from camrt.images import Image
from camrt.runtime.collect.items import Item
from camrt.runtime.evaluation.scoring import best_class
from camrt.runtime.inference.model import Model
from camrt.runtime.maps.placed import boxes_on_frame
from camrt.runtime.maps.result import BOX_THRESHOLD, Result

TOP: Final = 5
"""Number of best classes in a row."""
_LEVELS: Final = 255


@dataclass(slots=True)
class Seconds:
    """Time that rows took."""

    decode: float = 0.0
    """Reading, hashing and decoding files."""
    model: float = 0.0
    """Preprocessing and inference."""
    rest: float = 0.0
    """Maps, boxes and pooled features."""

    def add(self, other: "Seconds") -> None:
        """Add the times of other rows."""
        self.decode += other.decode
        self.model += other.model
        self.rest += other.rest

    @property
    def total(self) -> float:
        """All of them."""
        return self.decode + self.model + self.rest


@dataclass(frozen=True, slots=True)
class Row:
    """A row, by the columns of `camrt.runtime.collect.schema`, and a remark on how its image was read."""

    values: dict[str, Any]
    remark: str = ""


def make_row(model: Model, item: Item, seconds: Seconds) -> Row:
    """Classify an image and return its row; ``error`` says why an image could not be read.

    Args:
        model: the model.
        item: the image.
        seconds: gets the time that the row takes.
    """
    start = time.perf_counter()
    values: dict[str, Any] = {"path": item.path, "group": item.group, "label": item.label}
    remark = ""
    try:
        image, values["sha1"], remark = _pixels(item, values)
    except SourceError as error:
        values["error"] = str(error)
        seconds.decode += time.perf_counter() - start
        return Row(values)
    decoded = time.perf_counter()
    result = model(image)
    classified = time.perf_counter()
    values |= {"height": image.shape[0], "width": image.shape[1]}
    values |= _values(model, result, item)
    done = time.perf_counter()
    seconds.add(Seconds(decoded - start, classified - decoded, done - classified))
    return Row(values, remark)


def broken_row(item: Item, reason: str) -> Row:
    """Return the row of an image that was not classified."""
    return Row({"path": item.path, "group": item.group, "label": item.label, "error": reason})


def _pixels(item: Item, values: dict[str, Any]) -> tuple[Image, str, str]:
    """Return the image, its SHA-1 and a remark. The SHA-1 is of the file, or of the pixels of a video's frame."""
    if item.frame is not None:
        return item.frame, hashlib.sha1(item.frame.tobytes(), usedforsecurity=False).hexdigest(), ""
    if item.problem:
        raise SourceError(item.problem)
    try:
        data = Path(item.file).read_bytes()
    except OSError as error:
        raise SourceError(f"{item.file} cannot be read: {error.strerror}") from error
    values["sha1"] = hashlib.sha1(data, usedforsecurity=False).hexdigest()  # of a broken file, too
    if not data:
        raise SourceError(f"{item.file} is empty (0 bytes)")
    picture = next(decode_pictures(data, item.file))
    pages = "only the first picture of the file is used" if picture.pages > 1 else ""
    return picture.image, values["sha1"], picture.remark or pages


def _values(model: Model, result: Result, item: Item) -> dict[str, Any]:
    top = result.top(TOP)
    true = list(dict.fromkeys(best_class(result, ids) for ids in item.classes))
    # The map of the true class, or of the predicted one where none is known.
    first, *others = list(dict.fromkeys([*true, result.class_id]))
    cams = result.visible_cams([first, *others])
    values: dict[str, Any] = {
        "class_ids": [number for number, _, _ in top],
        "scores": [score for _, _, score in top],
        "cam_shape": list(cams.shape[1:]),
        "boxes": [],
    }
    if not np.isfinite(cams).all():
        return values | {"error": f"{item.path}: its map has values that are not finite; check the model file"}
    maps = [quantize_map(cam) for cam in cams]
    (values["cam"], values["cam_low"], values["cam_high"]), *more = maps
    values |= {"cam_class": first, "cam_score": float(result.scores[first])}
    values["more_cams"] = [
        {"cam_class": number, "cam": cam, "cam_low": low, "cam_high": high, "cam_score": float(result.scores[number])}
        for number, (cam, low, high) in zip(others, more, strict=True)
    ]
    if model.head == "linear":
        pooled = result.decoder.decoded(result.maps).mean(axis=(1, 2), dtype=np.float32)
        with np.errstate(over="ignore"):  # float16 has no values above 65504: they become infinite
            values["pooled"] = pooled.astype(np.float16)
    (boxes,) = boxes_on_frame(cams[0], result.placement, [BOX_THRESHOLD])
    values["boxes"] = [dict(zip(("x0", "y0", "x1", "y1", "score"), box, strict=True)) for box in boxes]
    return values


def quantize_map(cam: NDArray[np.float32]) -> tuple[bytes, float, float]:
    """Return a map in 256 levels from its lowest to its highest value: bytes in rows, lowest and highest.

    Args:
        cam: float32 (h, w). The largest error is 1/510 of its range.
    """
    low, high = float(cam.min()), float(cam.max())
    if not low < high:
        return bytes(cam.size), low, high
    levels = np.rint((cam.astype(np.float64) - low) * (_LEVELS / (high - low)))
    return levels.astype(np.uint8).tobytes(), low, high


def dequantize_map(cam: bytes, shape: tuple[int, int], low: float, high: float) -> NDArray[np.float32]:
    """Return the map of `quantize_map`: float32 ``shape``."""
    levels = np.frombuffer(cam, np.uint8).reshape(shape).astype(np.float64)
    # In this form the first and the last level are exactly the lowest and the highest value.
    return np.asarray(((_LEVELS - levels) * low + levels * high) / _LEVELS, np.float32)
