"""Images of an audit from a store of maps: the pixels of those alone are read that take part in an experiment."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from camrt.errors import SourceError, UsageError
from camrt.files import file_sha256
from camrt.kernels import Box
from camrt.runtime.audit.properties import PROPERTIES
from camrt.runtime.audit.samples import PLACE_SIDE, Samples, file_bytes, look, pixels
from camrt.runtime.collect.manifest import Manifest
from camrt.runtime.collect.store import MapStore
from camrt.runtime.evaluation.datasets.labelled import LabelledImage, Target
from camrt.runtime.inference.model import Model

_COLUMNS: Final = (
    *("path", "sha1", "label", "class_ids", "scores", "cam_class", "cam", "cam_shape", "cam_low", "cam_high"),
    *("cam_score", "pooled", "boxes", "width", "height", "error"),
)
_NAMED: Final = 5
_OWN: Final = 160
_OTHERS: Final = 400
"""Images of a class, and of all others together, that take part in experiments."""


def stored_samples(model: Model, store: MapStore) -> Samples:
    """Return the images of a store with their classes, maps and pooled features; pixels are not read.

    Raises:
        UsageError: the store is of another model, or has no image with a class that the model knows.
        SourceError: the store is damaged.
    """
    manifest = store.manifest
    if manifest.model_sha256 != file_sha256(model.path):
        raise UsageError(f"{store.path} has maps of {manifest.model}, another model file than {model.path}")
    remarks = [
        f"maps are those of {store.path}; only images of experiments were read again, so near duplicates and the "
        "places of objects were not looked for"
    ]
    if not manifest.complete:
        remarks.append(f"{store.path} is not complete: camrt collect was interrupted; run it again to go on")
    rows = list(_rows(store, manifest, remarks))
    if not rows:
        raise UsageError("; ".join(["there is no image to audit", *remarks[1:][-2:]]))
    count = len(rows)
    paths, labels, classes, predicted, scores, best, maps, lows, highs, pooled, contents, sizes, boxes = zip(
        *rows, strict=True
    )
    return Samples(
        sources=[LabelledImage(path, Path(path), ()) for path in paths],
        targets=[Target(label) for label in labels],
        classes=np.array(classes, np.intp),
        predicted=np.array(predicted, np.intp),
        scores=np.array(scores, np.float32),
        predicted_scores=np.array(best, np.float32),
        maps=np.stack(maps),
        lows=np.array(lows, np.float32),
        highs=np.array(highs, np.float32),
        pooled=np.stack(pooled) if pooled[0] is not None else None,
        properties=np.full((count, len(PROPERTIES)), np.nan, np.float32),
        on_object=np.full(count, np.nan, np.float32),
        certain=np.zeros(count, bool),
        places=np.zeros((count, PLACE_SIDE**2 // 8), np.uint8),
        hashes=np.zeros(count, np.uint64),
        contents=contents,
        sizes=np.array(sizes, np.intp),
        boxes=boxes,
        placed=False,
        looked=np.zeros(count, bool),
        remarks=remarks,
    )


def _rows(store: MapStore, manifest: Manifest, remarks: list[str]) -> Iterator[tuple[Any, ...]]:
    """Yield the values of each row that counts, and add lines about the others."""
    errors: list[str] = []
    unknown: dict[str, int] = {}
    unlabelled = frames = 0
    for table in store.tables(_COLUMNS):
        for row in table.to_pylist():
            label = row["label"]
            if row["error"] is not None:
                errors.append(row["error"])
            elif label is None:
                unlabelled += 1
            elif row["cam_class"] not in manifest.classes.get(label, ()):
                unknown[label] = unknown.get(label, 0) + 1
            elif "#frame=" in row["path"]:
                frames += 1
            else:
                cam = np.frombuffer(row["cam"], np.uint8).reshape(row["cam_shape"])
                pooled = row["pooled"]
                yield (
                    *(row["path"], label, row["cam_class"], row["class_ids"][0], row["cam_score"], row["scores"][0]),
                    *(cam, row["cam_low"], row["cam_high"]),
                    None if pooled is None else np.clip(np.array(pooled, np.float32), -65504, 65504).astype(np.float16),
                    bytes.fromhex(row["sha1"] or ""),
                    (row["width"], row["height"]),
                    [Box(**box) for box in row["boxes"]],
                )
    remarks += [f"left out: {reason}" for reason in errors[:_NAMED]]
    if len(errors) > _NAMED:
        remarks.append(f"left out: {len(errors) - _NAMED} more images that cannot be read")
    if unlabelled:
        remarks.append(f"left out: {unlabelled} images without a class")
    if frames:
        remarks.append(f"left out: {frames} frames of videos; an audit needs image files")
    for label, number in sorted(unknown.items())[:_NAMED]:
        remarks.append(f"left out: {number} images of {label!r}, a class that the model does not have")
    if len(unknown) > _NAMED:
        remarks.append(f"left out: images of {len(unknown) - _NAMED} more classes that the model does not have")


def look_at_class(samples: Samples, class_id: int, seed: int) -> set[int]:
    """Read the pixels of images for the experiments of a class: of some of its own, and of the same others each time.

    Returns: numbers of images that cannot be read, or have changed since their maps were stored.
    """
    if samples.looked.all():
        return set()
    random = np.random.default_rng((seed, class_id))
    own = random.permutation(samples.of_class(class_id))[:_OWN]
    others = np.random.default_rng(seed).permutation(len(samples.classes))[:_OTHERS]
    failed: set[int] = set()
    for number in np.concatenate([own, others]).tolist():
        if not samples.looked[number]:
            source = samples.sources[number]
            try:
                data = file_bytes(source)
                if hashlib.sha1(data, usedforsecurity=False).digest() == samples.contents[number]:
                    look(samples, number, pixels(source, data), data)
            except SourceError:
                failed.add(number)
            else:
                failed |= set() if samples.looked[number] else {number}
    return failed
