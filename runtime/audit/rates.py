"""Intervals of shares and of their differences, of 95 %, for few images as well."""

from math import sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
_Z: Final = 1.959964
Interval = tuple[float, float]


def share_interval(count: int, total: int) -> Interval:
    """Return the interval of a share, in [0, 1]; (0, 1) without any image.

    Source: Wilson 1927, Probable inference, the law of succession, and statistical inference.
    """
    if total == 0:
        return 0.0, 1.0
    share = count / total
    middle = share + _Z**2 / (2 * total)
    half = _Z * sqrt(share * (1 - share) / total + (_Z / (2 * total)) ** 2)
    scale = 1 + _Z**2 / total
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def difference_interval(count: int, total: int, other_count: int, other_total: int) -> Interval:
    """Return the interval of the difference of two shares of different images, second minus first, in [-1, 1].

    Source: Newcombe 1998, Interval estimation for the difference between independent proportions, method 10.
    """
    first, second = count / total, other_count / other_total
    (low, high), (other_low, other_high) = share_interval(count, total), share_interval(other_count, other_total)
    difference = second - first
    return (
        difference - sqrt((second - other_low) ** 2 + (high - first) ** 2),
        difference + sqrt((other_high - second) ** 2 + (first - low) ** 2),
    )


def paired_interval(gained: int, lost: int, total: int) -> Interval:
    """Return the interval of the difference of two shares of the same images, second minus first, in [-1, 1].

    Args:
        gained: images that count for the second share only.
        lost: images that count for the first share only.
        total: number of images.

    Source: Agresti and Min 2005, Simple improved confidence intervals for comparing matched proportions.
    """
    gained_more, lost_more, more = gained + 0.5, lost + 0.5, total + 2
    difference = (gained_more - lost_more) / more
    half = _Z * sqrt(gained_more + lost_more - (gained_more - lost_more) ** 2 / more) / more
    return max(-1.0, difference - half), min(1.0, difference + half)


def paired_p(gained: int, lost: int) -> float:
    """Return the probability of such a difference of the same images where there is none (two-sided).

    Source: McNemar's test, exact, by the binomial distribution.
    """
    from scipy.stats import binomtest

    return float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def unpaired_p(count: int, total: int, other_count: int, other_total: int) -> float:
    """Return the probability of such a difference of different images where there is none (two-sided).

    Source: Fisher's exact test.
    """
    from scipy.stats import fisher_exact

    return float(fisher_exact([[count, total - count], [other_count, other_total - other_count]]).pvalue)


def mean_interval(values: F64) -> Interval:
    """Return the interval of a mean; values: float64 (n,), n of at least 2.

    Source: Student's t distribution.
    """
    from scipy.stats import t

    half = float(t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / sqrt(len(values)))
    return float(values.mean()) - half, float(values.mean()) + half


def mean_difference(first: F64, second: F64, *, paired: bool) -> tuple[Interval, float]:
    """Return the interval of the difference of two means, second minus first, and its two-sided p-value.

    Args:
        first: float64 (n,), n of at least 2.
        second: float64 (m,).
        paired: the values belong together one by one.

    Source: Student's t-test of pairs, Welch's of different images.
    """
    from scipy.stats import t

    if paired:
        difference = second - first
        mean, error = float(difference.mean()), float(difference.std(ddof=1)) / sqrt(len(difference))
        freedom = float(len(difference) - 1)
    else:
        parts = [float(some.var(ddof=1)) / len(some) for some in (first, second)]
        mean, error = float(second.mean() - first.mean()), sqrt(sum(parts))
        scale = sum(part**2 / (len(some) - 1) for part, some in zip(parts, (first, second), strict=True))
        freedom = sum(parts) ** 2 / scale if scale else 1.0
    if not error > 0:
        return (mean, mean), float(mean == 0)
    half = float(t.ppf(0.975, freedom)) * error
    return (mean - half, mean + half), float(2 * t.sf(abs(mean) / error, freedom))
