"""Duplicates: images that occur several times, above all in several classes."""

from collections.abc import Sequence
from pathlib import PurePath
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from camrt.images import Image
from camrt.runtime.evaluation.datasets.folder import SPLITS

_NEAR: Final = 2
"""Bits of 64 by which hashes of near duplicates differ."""
_CHUNK: Final = 512


def difference_hash(image: Image) -> np.uint64:
    """Return 64 bits: for each cell of 8 x 8, whether the next one to the right is brighter (dHash).

    Args:
        image: uint8 (H, W, 3) BGR.
    """
    small = cv2.cvtColor(cv2.resize(image, (9, 8), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
    return np.uint64(np.packbits(small[:, 1:] > small[:, :-1]).view(np.uint64)[0])


def near_duplicates(
    hashes: NDArray[np.uint64], contents: Sequence[bytes]
) -> tuple[list[tuple[int, int]], NDArray[np.bool_]]:
    """Return pairs of images that are the same or nearly so, and which of them have the same content.

    Args:
        hashes: uint64 (N,), of `difference_hash`; 0 (an image without any structure) matches nothing.
        contents: digest of each file; empty: unknown.
    """
    pairs: list[tuple[int, int]] = []
    for begin in range(0, len(hashes), _CHUNK):
        part = hashes[begin : begin + _CHUNK]
        bits = np.bitwise_count(part[:, np.newaxis] ^ hashes[np.newaxis])
        first, second = np.nonzero(bits <= _NEAR)
        keep = (second > first + begin) & (part[first] != 0) & (hashes[second] != 0)
        pairs += zip((first[keep] + begin).tolist(), second[keep].tolist(), strict=True)
    by_content: dict[bytes, int] = {}
    known = set(pairs)
    for number, content in enumerate(contents):
        if content:
            first_one = by_content.setdefault(content, number)
            if first_one != number and (first_one, number) not in known:
                pairs.append((first_one, number))
    same = np.array([contents[a] == contents[b] != b"" for a, b in pairs], bool)
    return pairs, same


def duplicate_remarks(
    hashes: NDArray[np.uint64], contents: Sequence[bytes], classes: NDArray[np.intp], names: Sequence[str]
) -> list[str]:
    """Return lines about duplicates: in different classes (a label is wrong), parts of the data, or in one class.

    Parts are folders such as ``train`` and ``val`` in the names.
    """
    pairs, same = near_duplicates(hashes, contents)
    parts = [_part(name) for name in names]
    lines: dict[str, list[tuple[int, int]]] = {
        "the same file in two classes": [],
        "near duplicates in two classes": [],
        "near duplicates in two parts of the data, so that the figures of one are too good": [],
        "near duplicates in one class": [],
    }
    crossed, nearly, leaked, usual = lines.values()
    for (first, second), exact in zip(pairs, same, strict=True):
        if classes[first] != classes[second]:
            (crossed if exact else nearly).append((first, second))
        elif parts[first] and parts[second] and parts[first] != parts[second]:
            leaked.append((first, second))
        else:
            usual.append((first, second))
    remarks = []
    for words, some in lines.items():
        if some:
            first, second = some[0]
            more = f" and {len(some) - 1} more pairs" if len(some) > 1 else ""
            remarks.append(f"{words}: {names[first]} and {names[second]}{more}")
    return remarks


def _part(name: str) -> str:
    """Return the part of the data that an image belongs to, by its folders; empty: they name none."""
    return next((folder.lower() for folder in PurePath(name).parts[:-1] if folder.lower() in SPLITS), "")
