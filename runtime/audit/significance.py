"""Significance of differences: paired tests, intervals, and corrections for the number of tests."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
DRAWS: Final = 1000
_ENDS: Final = (2.5, 97.5)


def adjust(p_values: Sequence[float], tests: int | None = None) -> F64:
    """Return p-values corrected for the number of tests, float64 in [0, 1], in the given order.

    Args:
        p_values: of the tests.
        tests: number of tests that were begun, if more than these; None: as many as there are p-values.

    Source: Benjamini and Hochberg 1995, Controlling the False Discovery Rate.
    """
    p = np.asarray(p_values, np.float64)
    if not len(p):
        return p
    order = np.argsort(p)
    raised = p[order] * max(tests or 0, len(p)) / np.arange(1, len(p) + 1)
    adjusted = np.minimum(np.minimum.accumulate(raised[::-1])[::-1], 1.0)
    result = np.empty_like(adjusted)
    result[order] = adjusted
    return result


def t_value(differences: F64, independent: int) -> float:
    """Return Student's t of paired differences against 0; 0 where it is undefined.

    Args:
        differences: (n,) of the pairs.
        independent: number of independent ones among them: pairs that share an image are not.
    """
    if independent < 2:
        return 0.0
    spread = float(differences.std(ddof=1)) if len(differences) > 1 else 0.0
    mean = float(differences.mean())
    if not spread > 0:
        return 0.0 if mean == 0 else float(np.sign(mean)) * 1e3
    return mean / spread * float(np.sqrt(min(independent, len(differences))))


def p_of_t(t: float, independent: int) -> float:
    """Return the probability of at least this t where there is no difference (one-sided)."""
    from scipy.stats import t as student

    return float(student.sf(t, max(1, independent - 1))) if independent >= 2 else 1.0


def mean_interval(*groups: tuple[F64, int], seed: int = 0) -> tuple[float, float]:
    """Return the interval of 95 % of the mean of the groups' means, from draws of each group with replacement.

    Args:
        groups: values (n,), and the number of independent ones among them, which is that of a draw.
        seed: of the draws.

    Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13 (percentile interval).
    """
    random = np.random.default_rng(seed)
    drawn = [values[random.integers(0, len(values), (DRAWS, count))].mean(axis=1) for values, count in groups]
    low, high = np.percentile(np.mean(drawn, axis=0), _ENDS)
    return float(low), float(high)


def permutation_floor(
    statistic: Callable[[NDArray[np.intp]], F64], labels: NDArray[np.intp], *, draws: int = 100, seed: int = 0
) -> float:
    """Return the 99th percentile of the largest value of a statistic under permuted labels: the noise floor.

    Args:
        statistic: labels (N,) -> values of any number of tests.
        labels: class of each image.
        draws: number of permutations.
        seed: of the permutations.
    """
    random = np.random.default_rng(seed)
    return float(np.percentile([statistic(random.permutation(labels)).max(initial=0.0) for _ in range(draws)], 99))
