"""Weights of a linear head that do not see the difference that a shortcut makes.

The differences of pooled features with and without the evidence span a few directions. The weights are projected onto
the rest, which removes their contribution from every class map and logit. What is left is fitted to the classes again,
near the projected weights: a network that had the shortcut left the class's own features with too little weight.

Sources: Neuhaus et al. 2023, Spurious Features Everywhere (remove a component's contribution); Kirichenko et al. 2023,
Last Layer Re-Training is Sufficient for Robustness to Spurious Correlations.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
RANK: Final = 8
"""Most directions that are removed."""
_ENERGY: Final = 0.95
"""Share of the squared differences that the removed directions have, if so few suffice."""
PENALTIES: Final = (10.0, 1.0, 0.1, 0.01)
"""Penalties of the squared change of the weights, for features of unit spread; cross-validation chooses one."""
_LEAST_SPREAD: Final = 0.05
"""Least spread of a feature, as a share of the largest: smaller ones would get weights whose products cancel out."""
_STEPS: Final = 200
_LEAST: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Head:
    """A linear head: ``logits = features @ weights.T + bias``."""

    weights: F64
    """(K, C)."""
    bias: F64
    """(K,)."""

    def logits(self, features: F64) -> F64:
        """Return the logits of pooled features, (N, C) -> (N, K)."""
        return np.asarray(features @ self.weights.T + self.bias)

    def answers(self, features: F64) -> NDArray[np.intp]:
        """Return the class of each row of pooled features, (N, C) -> (N,)."""
        return np.asarray(self.logits(features).argmax(axis=1))


@dataclass(frozen=True, slots=True)
class Group:
    """Pooled features of images in one state."""

    features: F64
    """(N, C)."""
    classes: NDArray[np.intp]
    """(N,)."""


def without_evidence(head: Head, evident: F64, plain: F64, groups: Sequence[Group], penalty: float) -> Head:
    """Return a head without the shortcut.

    Args:
        head: the head as it is.
        evident: (N, C), pooled features of images with the evidence.
        plain: (N, C), of the same images without it.
        groups: images to fit to; each class has the same weight in each group. Classes without images keep their
            weights.
        penalty: of `PENALTIES`.
    """
    _, values, directions = np.linalg.svd(evident - plain, full_matrices=False)
    energy = np.cumsum(values**2)
    rank = min(RANK, int(np.searchsorted(energy, _ENERGY * energy[-1])) + 1) if energy[-1] > _LEAST else 0
    kept = np.eye(evident.shape[1]) - directions[:rank].T @ directions[:rank]
    rows = np.unique(np.concatenate([one.classes for one in groups]))
    flat = [Group(one.features @ kept, np.searchsorted(rows, one.classes)) for one in groups]
    lost = head.weights[rows] @ (np.eye(len(kept)) - kept)
    fitted = _fit(Head(head.weights[rows] - lost, head.bias[rows] + lost @ plain.mean(axis=0)), flat, penalty)
    weights, bias = head.weights.copy(), head.bias.copy()
    weights[rows], bias[rows] = fitted.weights @ kept, fitted.bias
    return Head(weights, bias)


def _fit(head: Head, groups: Sequence[Group], penalty: float) -> Head:
    """Return the head with the least cross entropy plus penalty; a change of weights counts per spread of a feature."""
    from scipy.optimize import minimize

    features = np.concatenate([one.features for one in groups])
    classes = np.concatenate([one.classes for one in groups])
    shares = np.concatenate([_shares(one.classes) for one in groups]) / len(groups)
    spread = features.std(axis=0)
    spread = np.maximum(spread, _LEAST_SPREAD * spread.max() + _LEAST)
    inputs, start = features / spread, head.weights * spread
    count, width = start.shape
    truth = np.arange(len(classes)), classes

    def loss(change: F64) -> tuple[float, F64]:
        weights, bias = change[: count * width].reshape(count, width), change[count * width :]
        logits = inputs @ (start + weights).T + head.bias + bias
        logits -= logits.max(axis=1, keepdims=True)
        logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        slopes = np.exp(logs)
        slopes[truth] -= 1
        slopes *= shares[:, np.newaxis]
        value = -float((shares * logs[truth]).sum()) + penalty * float((weights**2).sum()) / 2
        return value, np.concatenate([(slopes.T @ inputs + penalty * weights).ravel(), slopes.sum(axis=0)])

    best = minimize(loss, np.zeros(count * width + count), jac=True, method="L-BFGS-B", options={"maxiter": _STEPS}).x
    return Head((start + best[: count * width].reshape(count, width)) / spread, head.bias + best[count * width :])


def _shares(classes: NDArray[np.intp]) -> F64:
    """Return weights that sum to 1, the same for each class."""
    numbers, inverse, counts = np.unique(classes, return_inverse=True, return_counts=True)
    return np.asarray(1.0 / (counts[inverse] * len(numbers)))
