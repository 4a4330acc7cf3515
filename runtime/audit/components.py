"""Components of a class's evidence: a class map of a linear head splits exactly into component maps.

With the weighted features ``u(i) = w_k * f(i)`` of a cell ``i``, the class map is ``CAM_k(i) = <1, u(i)>``. For
orthonormal components ``v_l`` it is ``sum over l of <1, v_l> <v_l, u(i)>`` plus a rest outside their span. The mean of
a component's map over the cells is its part of the logit, because the pooled features are the means of the cells.

Source: Neuhaus et al. 2023, Spurious Features Everywhere (neural PCA), for the components of pooled features.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
COMPONENTS: Final = 8
_RARE: Final = 0.4
"""Share of a class's images in which a component is present, below which it is a suspect."""
_FEWEST: Final = 8


def principal_components(pooled: NDArray[Any], weights: F32, count: int = COMPONENTS) -> F64:
    """Return the principal components of a class's weighted pooled features: float64 (count, C), orthonormal rows.

    Args:
        pooled: (N, C) of the class's images.
        weights: (C,) of the class.
        count: number of components, at most N - 1 and C.
    """
    weighted = pooled.astype(np.float64) * weights
    centred = weighted - weighted.mean(axis=0)
    _, values, rows = np.linalg.svd(centred, full_matrices=False)
    kept = min(count, int((values > 1e-9 * max(float(values.max(initial=0.0)), 1e-300)).sum()))
    rows = rows[:kept]
    signs = np.sign(rows.sum(axis=1))
    return np.asarray(rows * np.where(signs == 0, 1.0, signs)[:, np.newaxis])


def component_maps(features: F32, weights: F32, components: F64) -> F64:
    """Return the map of each component and of the rest; their sum is the class map: float64 (L + 1, h, w).

    Args:
        features: (C, h, w) decoded features of an image.
        weights: (C,) of the class.
        components: (L, C), orthonormal rows.
    """
    weighted = features.astype(np.float64) * weights[:, np.newaxis, np.newaxis]
    maps = np.tensordot(components, weighted, axes=1) * components.sum(axis=1)[:, np.newaxis, np.newaxis]
    rest = weighted.sum(axis=0) - maps.sum(axis=0)
    return np.concatenate([maps, rest[np.newaxis]])


def contributions(pooled: NDArray[Any], weights: F32, components: F64) -> F64:
    """Return the part of the class's logit that each component gives in each image, in logits: float64 (N, L)."""
    weighted = pooled.astype(np.float64) * weights
    return np.asarray((weighted @ components.T) * components.sum(axis=1))


def suspicious_components(
    own: NDArray[Any], others: NDArray[Any], weights: F32, names: Sequence[str]
) -> list[Mapping[str, Any]]:
    """Return the components that few of a class's images have, with much evidence, most evidence first.

    An image has a component if its contribution exceeds the 99th percentile of the other classes' images.

    Args:
        own: (N, C) pooled features of the class.
        others: (M, C) of other classes.
        weights: (C,) of the class.
        names: of the N images.

    Returns: for each: ``component`` (number), ``share`` (of the class's images that have it), ``logits`` (mean
    contribution to their logit above the other classes' mean), ``images`` (those with the most).
    """
    if len(own) < _FEWEST or len(others) < _FEWEST:
        return []
    components = principal_components(own, weights)
    mine, theirs = (contributions(some, weights, components) for some in (own, others))
    found = []
    for number in range(len(components)):
        limit = np.percentile(theirs[:, number], 99)
        present = mine[:, number] > limit
        if present.sum() >= 2 and present.mean() <= _RARE:
            order = np.argsort(-mine[:, number], kind="stable")
            found.append(
                {
                    "component": number,
                    "share": float(present.mean()),
                    "logits": float(mine[present, number].mean() - theirs[:, number].mean()),
                    "images": [names[one] for one in order[:4]],
                }
            )
    return sorted(found, key=lambda one: -one["logits"])
