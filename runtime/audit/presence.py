"""Class that has a shortcut, where a model has two: what one class has, the other one lacks.

All experiments give the same flips for both. The class whose images are alike in the evidence, or whose colours are
farther from grey, is the one that has it.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from camrt.errors import SourceError
from camrt.runtime.audit.exchange import ImagePool
from camrt.runtime.audit.properties import COLOUR
from camrt.runtime.audit.shifts import Suspect

_IMAGES: Final = 60


def class_with_evidence(pool: ImagePool, suspects: Sequence[tuple[int, Suspect]]) -> int:
    """Return the class of a suspicion that holds for two classes.

    Args:
        pool: the images.
        suspects: the class and the suspicion as it was tested for it, strongest first.
    """
    return min(suspects, key=lambda one: _unlikeness(pool, *one))[0]


def _unlikeness(pool: ImagePool, class_id: int, suspect: Suspect) -> float:
    numbers = pool.samples.of_class(class_id)
    if suspect.exchange is None:
        colours = pool.samples.properties[numbers][:, COLOUR].astype(np.float64).mean(axis=0)
        return -float(np.abs(colours - colours.mean()).max()) if suspect.kind == "colour" else 0.0
    contents = []
    for number in numbers[:: max(1, len(numbers) // _IMAGES)][:_IMAGES]:
        try:
            contents.append(suspect.exchange.content(int(number)))
        except SourceError:  # the file has gone since it was classified
            continue
    return nearest_distance(np.stack(contents)) if len(contents) > 1 else np.inf


def nearest_distance(contents: NDArray[np.float64]) -> float:
    """Return the median distance of each content to its nearest other one.

    Half of the images may lack a mark: the others still have near neighbours.

    Args:
        contents: (N, D).
    """
    squares = (contents**2).sum(axis=1)
    distances = squares[:, np.newaxis] + squares - 2 * contents @ contents.T
    np.fill_diagonal(distances, np.inf)
    return float(np.sqrt(np.median(np.maximum(distances.min(axis=1), 0))))
