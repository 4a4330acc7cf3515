"""Names of sources: unique ones for the machine, short ones for people."""

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath
from typing import Final

from camrt.runtime.sources.network.url import redact

LONGEST_NAME: Final = 32
"""Characters of the longest short name."""
_ELLIPSIS = "..."  # three characters: OpenCV's fonts have ASCII only


def unique_names(names: Sequence[str]) -> list[str]:
    """Return the names in the same order; each one that was there before gets a number: ``camera 0 (2)``."""
    unique: list[str] = []
    for name in names:
        candidate, number = name, 1
        while candidate in unique:
            number += 1
            candidate = f"{name} ({number})"
        unique.append(candidate)
    return unique


def short_names(names: Sequence[str]) -> list[str]:
    """Return a short name for each source, for labels and lists.

    An address is its host and path, without scheme and credentials. A path is its last part, or as many of its last
    parts as tell it from the others. Longer names have an ellipsis in the middle. Names that would still be equal are
    numbered.

    Args:
        names: unique names, as `open_sources` gives them.

    Returns: unique names of at most `LONGEST_NAME` characters, in the same order.
    """
    parts = [_parts(name) for name in names]
    depths = [1] * len(names)
    while True:
        candidates = ["/".join(part[-depth:]) for part, depth in zip(parts, depths, strict=True)]
        counts = Counter(candidates)
        longer = [
            number
            for number, candidate in enumerate(candidates)
            if counts[candidate] > 1 and depths[number] < len(parts[number])
        ]
        if not longer:
            break
        for number in longer:
            depths[number] += 1
    short: list[str] = []
    for candidate in candidates:
        suffix, number = "", 1
        while (name := _shorten(candidate, LONGEST_NAME - len(suffix)) + suffix) in short:
            number += 1
            suffix = f" ({number})"
        short.append(name)
    return short


def _parts(name: str) -> tuple[str, ...]:
    """Return the parts that a short name is made of; an address is a single part."""
    if "://" in name:
        return (redact(name).partition("://")[2].rstrip("/") or name,)
    return tuple(part for part in PurePath(name).parts if part.strip("/")) or (name,)


def _shorten(text: str, length: int) -> str:
    if len(text) <= length:
        return text
    head = (length - len(_ELLIPSIS)) // 2
    return text[:head] + _ELLIPSIS + text[head + len(_ELLIPSIS) - length :]
