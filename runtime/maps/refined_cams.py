"""Compute refined class activation maps."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from camrt import kernels
from camrt.runtime.maps.decoder import MapDecoder
from camrt.runtime.maps.refinement import check_refinements

F32 = NDArray[np.float32]
PERCENT: Final = 50.0
"""Percentile of ``ivr``: the median, the best of 20, 30, 40 and 50 on some of the photos of docs/localization.md. Its
authors use 45."""


def refined_cams(
    decoder: MapDecoder, maps: F32 | NDArray[np.uint8], class_ids: NDArray[np.intp], names: tuple[str, ...]
) -> F32:
    """Return class activation maps after ``clamp``, ``pc1`` and ``ivr``, where they are in ``names``, in this order.

    Args:
        decoder: of the model.
        maps: (C, h, w), or (K, h, w) for a head that is not linear; float32 or uint8, without cells that cover padding.
        class_ids: (k,) numbers of the classes.
        names: as `parse_refinements` returns them. ``flip`` is ignored: `refine_frame` has changed the maps already.

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
