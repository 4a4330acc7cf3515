"""Intervals of shares and means, compared with scipy, published examples and simulation."""

import numpy as np
import pytest
from scipy import stats

from camrt.runtime.audit.rates import (
    difference_interval,
    mean_difference,
    mean_interval,
    paired_interval,
    paired_p,
    share_interval,
    unpaired_p,
)


@pytest.mark.parametrize(("count", "total"), [(0, 4), (3, 4), (41, 41), (7, 300)])
def test_the_interval_of_a_share_is_wilsons(count, total):
    expected = stats.binomtest(count, total).proportion_ci(method="wilson")
    assert share_interval(count, total) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_the_interval_of_a_difference_is_that_of_newcombes_example():
    """Newcombe 1998, table II, method 10: 56 of 70 against 48 of 80."""
    low, high = difference_interval(48, 80, 56, 70)
    assert (low, high) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_the_interval_of_a_paired_difference_holds_the_truth_in_95_of_100_cases():
    random = np.random.default_rng(0)
    shares = [0.7, 0.12, 0.05, 0.13]  # right in both, lost, gained, wrong in both
    counts = random.multinomial(60, shares, 4000)
    intervals = [paired_interval(int(gained), int(lost), 60) for _, lost, gained, _ in counts]
    held = np.mean([low <= 0.05 - 0.12 <= high for low, high in intervals])
    assert held == pytest.approx(0.955, abs=0.02)


def test_without_any_change_a_paired_interval_still_has_a_width():
    low, high = paired_interval(0, 0, 20)
    assert low < 0 < high
    assert paired_p(0, 0) == 1


def test_probabilities_are_those_of_scipy():
    assert paired_p(2, 9) == pytest.approx(stats.binomtest(2, 11).pvalue)
    assert unpaired_p(5, 20, 15, 22) == pytest.approx(stats.fisher_exact([[5, 15], [15, 7]]).pvalue)


def test_differences_of_means_are_those_of_scipy():
    random = np.random.default_rng(1)
    first, second = random.normal(0.4, 0.1, 30), random.normal(0.5, 0.2, 30)
    for paired, expected in (
        (True, stats.ttest_rel(second, first)),
        (False, stats.ttest_ind(second, first, equal_var=False)),
    ):
        interval, p = mean_difference(first, second, paired=paired)
        assert interval == pytest.approx(tuple(expected.confidence_interval()))
        assert p == pytest.approx(expected.pvalue)
    assert mean_interval(first) == pytest.approx(tuple(stats.ttest_1samp(first, 0).confidence_interval()))
    assert mean_difference(first, first, paired=True) == ((0, 0), 1)
