"""Clusters of a class's maps: images for which the model looks at another place than for most.

Source: Lapuschkin et al. 2019, Unmasking Clever Hans predictors (spectral clustering of maps).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_MOST: Final = 2000
"""Maps that are clustered at most: the distances of all pairs are in memory."""
_FEWEST: Final = 12
_LARGEST_COUNT: Final = 6
_LEAST_GAP: Final = 0.15
"""Difference of two eigenvalues of the graph that tells clusters apart; below it all maps are one."""
_NEIGHBOURS: Final = 10


def cluster_maps(maps: NDArray[np.uint8], names: Sequence[str], seed: int = 0) -> list[Mapping[str, Any]]:
    """Return the clusters of a class's maps, smallest first; empty: they are too few, or there is only one.

    Args:
        maps: (N, h, w), each in 256 levels of its range.
        names: of the N images.
        seed: of the choice of images and of k-means.

    Returns: for each: ``size``, ``share``, ``images`` (nearest to the cluster's mean), ``mean_map`` (rows of values in
    [0, 1]).
    """
    if len(maps) < _FEWEST:
        return []
    from scipy.linalg import eigh
    from sklearn.cluster import KMeans
    from sklearn.neighbors import kneighbors_graph

    random = np.random.default_rng(seed)
    chosen = np.sort(random.permutation(len(maps))[:_MOST])
    flat = maps[chosen].reshape(len(chosen), -1).astype(np.float64) / 255
    graph = kneighbors_graph(flat, min(_NEIGHBOURS, len(flat) - 1), include_self=False).toarray()
    graph = np.maximum(graph, graph.T)
    root = 1 / np.sqrt(graph.sum(axis=1))
    laplacian = np.eye(len(graph)) - root[:, np.newaxis] * graph * root
    values, vectors = eigh(laplacian, subset_by_index=(0, min(_LARGEST_COUNT, len(graph) - 1)))
    gaps = np.diff(values)
    count = int(gaps.argmax()) + 1
    if count == 1 or gaps[count - 1] < _LEAST_GAP:
        return []
    rows = vectors[:, :count] / np.maximum(np.linalg.norm(vectors[:, :count], axis=1, keepdims=True), 1e-12)
    labels = KMeans(count, n_init=4, random_state=seed).fit_predict(rows)
    clusters = []
    for number in range(count):
        inside = np.flatnonzero(labels == number)
        if not len(inside):
            continue
        mean = flat[inside].mean(axis=0)
        order = inside[np.argsort(((flat[inside] - mean) ** 2).sum(axis=1), kind="stable")]
        clusters.append(
            {
                "size": len(inside),
                "share": len(inside) / len(flat),
                "images": [names[chosen[one]] for one in order[:4]],
                "mean_map": np.round(mean.reshape(maps.shape[1:]), 3).tolist(),
            }
        )
    return sorted(clusters, key=lambda one: int(one["size"]))
