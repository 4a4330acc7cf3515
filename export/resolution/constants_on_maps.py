"""Constants that are spread over a map."""

from collections.abc import Sequence

import numpy as np

from camrt.export.graph.graph import Array


def uniform_part(values: Array, axes: Sequence[int]) -> Array | None:
    """Return the constant with length 1 along ``axes``; None where it has different numbers along them."""
    part = values
    for axis in axes:
        part = np.take(part, [0], axis=axis)
    return part if bool((values == part).all()) else None
