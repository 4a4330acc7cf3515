"""Split images into training and validation: each class alike, and the frames of a clip on one side."""

import random
import re
from collections.abc import Sequence
from typing import Final

from camrt.errors import UsageError
from camrt.export.train.samples import Sample

SHARE: Final = 0.2
"""Share of the images that validate."""
_FEWEST_GROUPS: Final = 3
"""Clips of a class below which its images are split one by one."""


_FRAME: Final = re.compile(r"(?P<clip>.*?)[ _.-]*(?:frame|img|image|f)?[ _.-]*\d+", re.IGNORECASE)


def clip_of(stem: str) -> str:
    """Return the part of a file's name before the number of its frame: ``walk_0012`` -> ``walk``.

    A name that is a number, or has none, is its own clip.
    """
    match = _FRAME.fullmatch(stem)
    return match["clip"] if match is not None and match["clip"] else stem


def split_samples(
    samples: Sequence[Sample], classes: Sequence[str], seed: int
) -> tuple[list[Sample], list[Sample], str]:
    """Split samples, about `SHARE` of each class to validation.

    A class is split by clips if it has at least `_FEWEST_GROUPS` of them and any has several frames, else by images.

    Args:
        samples: with groups.
        classes: their labels.
        seed: of the choice; the same seed gives the same split, whatever the order of the samples.

    Returns: training and validation, in the order of ``samples``, and a sentence about the split.

    Raises:
        UsageError: a class has fewer than two images.
    """
    chosen: set[str] = set()
    by_clip = 0
    for label in classes:
        own = [sample for sample in samples if sample.label == label]
        if len(own) < 2:
            raise UsageError(
                f"class {label!r} has {len(own)} image; it needs at least two, one to train and one to validate"
            )
        groups: dict[str, list[str]] = {}
        for sample in own:
            groups.setdefault(sample.group or sample.name, []).append(sample.name)
        if len(groups) < _FEWEST_GROUPS:
            groups = {sample.name: [sample.name] for sample in own}
        by_clip += len(groups) < len(own)
        order = sorted(groups)
        random.Random(f"{seed} {label}").shuffle(order)
        wanted, count = max(1, round(SHARE * len(own))), 0
        for number, group in enumerate(order):
            size = len(groups[group])
            last_for_training = count + size >= len(own) or number == len(order) - 1
            if count >= wanted or last_for_training or (count and count + size > 1.5 * wanted):
                continue
            chosen.update(groups[group])
            count += size
    train = [sample for sample in samples if sample.name not in chosen]
    val = [sample for sample in samples if sample.name in chosen]
    how = f"by clips in {by_clip} of {len(classes)} classes, whose names have frame numbers" if by_clip else "by images"
    return train, val, f"there is one part only: {len(val)} of {len(samples)} images validate, split {how}"
