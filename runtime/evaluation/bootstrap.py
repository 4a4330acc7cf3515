"""Confidence intervals: metrics of images that are drawn again and again, with replacement."""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from camrt.runtime.evaluation.metrics import F64, Metric, Rows

DRAWS: Final = 1000
SEED: Final = 0
_CHUNK: Final = 50
_ENDS: Final = (2.5, 97.5)
"""Percentiles of the draws that bound the interval of 95 %."""


def draws(images: int) -> Iterator[NDArray[np.float32]]:
    """Yield how often each draw has each image: float32 (n, images), `DRAWS` in all. The same at every call."""
    random = np.random.default_rng(SEED)
    share = np.full(images, 1 / images)
    for begin in range(0, DRAWS, _CHUNK):
        yield random.multinomial(images, share, size=min(_CHUNK, DRAWS - begin)).astype(np.float32)


def value_of(metric: Metric, rows: Rows, keep: NDArray[np.intp] | None = None) -> float:
    """Return the value of a metric for all images, or for those with the numbers ``keep``."""
    table, counts = rows.table(metric.name)
    if keep is not None:
        table, counts = table[keep], counts[keep]
    return float(metric.reduce(table.sum(axis=0, dtype=np.float64)[np.newaxis], np.array([counts.sum()], float))[0])


def drawn_values(metric: Metric, rows: Rows, keep: NDArray[np.intp] | None = None) -> F64:
    """Return the values of a metric for `DRAWS` draws of images; NaN for a draw without any object.

    Args:
        metric: a metric that the rows have.
        rows: the rows of all images.
        keep: numbers of the images to draw from; None: all.

    Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13 (percentile interval).
    """
    table, counts = rows.table(metric.name)
    if keep is not None:
        table, counts = table[keep], counts[keep]
    flat = table.reshape(len(table), -1).astype(np.float32)
    values = []
    for weights in draws(len(table)):
        sums = (weights @ flat).astype(np.float64).reshape(-1, *metric.shape)
        with np.errstate(invalid="ignore", divide="ignore"):
            values.append(metric.reduce(sums, (weights @ counts).astype(np.float64)))
    return np.concatenate(values)


def interval(values: F64) -> tuple[float, float]:
    """Return the ends of the interval of 95 % of the draws."""
    low, high = np.nanpercentile(values, _ENDS) if not np.isnan(values).all() else (np.nan, np.nan)
    return float(low), float(high)
