"""Folders of many images: a few real pixels, and hard links to them."""

import os

import cv2
import numpy as np

from support.tiny_models import LABELS


def write_images(root, count, *, kinds=7, classes=LABELS, side=24):
    """Write ``count`` images in folders of classes, of which ``kinds`` are different; return their paths in order."""
    root.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    sources = []
    for number in range(kinds):
        coarse = random.integers(0, 256, (4, 5, 3), np.uint8)
        image = cv2.resize(coarse, (side + number, side), interpolation=cv2.INTER_CUBIC)
        sources.append(root.parent / f".{root.name}-{number}.jpg")
        assert cv2.imwrite(str(sources[-1]), image)
    paths = []
    for number in range(count):
        path = root / classes[number * len(classes) // count] / f"{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        os.link(sources[number % kinds], path)
        paths.append(path)
    return paths


def rows_of(store):
    """Return all rows of a store as one table."""
    import pyarrow.dataset

    return pyarrow.dataset.dataset(store, format="parquet").to_table()
