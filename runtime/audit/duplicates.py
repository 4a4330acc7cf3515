"""Duplicates: images that occur several times, above all in several classes."""

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from camrt.images import Image

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
    """Return lines about duplicates, those in different classes first: one of the two labels is wrong."""
    pairs, same = near_duplicates(hashes, contents)
    lines = []
    across = [(pair, exact) for pair, exact in zip(pairs, same, strict=True) if classes[pair[0]] != classes[pair[1]]]
    exact_across = [pair for pair, exact in across if exact]
    for kind, some in (("the same file in two classes", exact_across), ("near duplicates in one class", None)):
        shown = (
            [pair for pair, exact in zip(pairs, same, strict=True) if classes[pair[0]] == classes[pair[1]]]
            if some is None
            else some
        )
        if shown:
            first, second = shown[0]
            more = f" and {len(shown) - 1} more pairs" if len(shown) > 1 else ""
            lines.append(f"{kind}: {names[first]} and {names[second]}{more}")
    near = len(across) - len(exact_across)
    if near:
        first, second = next(pair for pair, exact in across if not exact)
        more = f" and {near - 1} more pairs" if near > 1 else ""
        lines.append(f"near duplicates in two classes: {names[first]} and {names[second]}{more}")
    return lines
