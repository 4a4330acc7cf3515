"""Refinements of class activation maps at draw time, by name. The default is the plain map."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from camrt import kernels
from camrt.errors import UsageError
from camrt.runtime.maps.decoder import MapDecoder

F32 = NDArray[np.float32]

REFINEMENTS: Final = ("clamp", "pc1", "ivr", "flip")
"""``clamp``: negative class weights count as 0. ``pc1``: the first principal component of the weighted features.
``ivr``: values below a percentile of the map count as that percentile. ``flip``: the mean with the map of the mirrored
frame, which takes a second pass of the model."""
NEED_WEIGHTS: Final = ("clamp", "pc1")
PERCENT: Final = 50.0
"""Percentile of ``ivr``: the median, the best of 20, 30, 40 and 50 on some of the photos of docs/localization.md. Its
authors use 45."""


def parse_refinements(text: str) -> tuple[str, ...]:
    """Return the refinements that a text names with commas between them, in the order in which they are computed.

    Args:
        text: names of `REFINEMENTS`, or ``none``.

    Raises:
        UsageError: a name is unknown.
    """
    names = [name.strip() for name in text.split(",")]
    if names == ["none"]:
        return ()
    if unknown := [name for name in names if name not in REFINEMENTS]:
        raise UsageError(f"refine {unknown[0]!r}: write none, or some of {','.join(REFINEMENTS)} with commas between")
    return tuple(name for name in REFINEMENTS if name in names)


def check_refinements(names: tuple[str, ...], *, weights: bool) -> None:
    """Raise UsageError if a refinement needs the weights of a linear head and the head has none."""
    if not weights and (missing := [name for name in names if name in NEED_WEIGHTS]):
        raise UsageError(
            f"refine {missing[0]} needs the weights of a linear head; this head gives one map for each class. Use ivr "
            "or flip, which work with any head"
        )


def refined_cams(
    decoder: MapDecoder, maps: F32 | NDArray[np.uint8], class_ids: NDArray[np.intp], names: tuple[str, ...]
) -> F32:
    """Return class activation maps after ``clamp``, ``pc1`` and ``ivr``, where they are in ``names``, in this order.

    Args:
        decoder: of the model.
        maps: (C, h, w), or (K, h, w) for a head that is not linear; float32 or uint8, without cells that cover padding.
        class_ids: (k,) numbers of the classes.
        names: as `parse_refinements` returns them. ``flip`` is ignored: `flip_average` has changed the maps already.

    Returns: float32 (k, h, w).

    Raises:
        UsageError: the head has no weights, and a refinement needs them.
    """
    check_refinements(names, weights=decoder.cam_weights is not None)
    if "pc1" in names or "clamp" in names:
        assert decoder.cam_weights is not None
        weights = decoder.cam_weights[class_ids]
        if "clamp" in names:
            weights = np.maximum(weights, np.float32(0.0))
        combine = kernels.principal_map if "pc1" in names else kernels.weighted_sum
        cams = combine(maps, weights, scale=decoder.scale, zero_point=decoder.zero_point)
    else:
        cams = decoder.cams(maps, class_ids)
    return kernels.raise_to_percentile(cams, PERCENT) if "ivr" in names else cams
