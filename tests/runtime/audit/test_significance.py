"""Corrections, paired tests and the noise floor, compared with SciPy."""

import numpy as np
import pytest
import scipy.stats

from camrt.runtime.audit.significance import adjust, mean_interval, p_of_t, permutation_floor, t_value


def test_the_correction_is_that_of_benjamini_and_hochberg():
    p = np.random.default_rng(0).uniform(0, 1, 40) ** 3
    np.testing.assert_allclose(adjust(p), scipy.stats.false_discovery_control(p))
    more = adjust(p[:5], 40)
    np.testing.assert_allclose(more, scipy.stats.false_discovery_control([*p[:5], *[1.0] * 35])[:5])
    assert len(adjust([])) == 0


def test_paired_test_is_students():
    values = np.random.default_rng(1).normal(0.4, 1, 30)
    reference = scipy.stats.ttest_1samp(values, 0, alternative="greater")
    t = t_value(values, 30)
    assert t == pytest.approx(reference.statistic)
    assert p_of_t(t, 30) == pytest.approx(reference.pvalue)
    assert t_value(values, 10) < t


@pytest.mark.parametrize(
    ("values", "independent", "t"), [([0, 0], 2, 0), ([1, 1], 2, 1000), ([5], 1, 0), ([3, 4], 1, 0)]
)
def test_few_or_equal_differences_give_no_infinity(values, independent, t):
    assert t_value(np.array(values, float), independent) == t
    assert 0 <= p_of_t(t, independent) <= 1


def test_the_interval_covers_the_mean():
    random = np.random.default_rng(2)
    hits = 0
    for _ in range(100):
        low, high = mean_interval((random.normal(1, 1, 40), 40), (random.normal(3, 1, 60), 60))
        hits += low <= 2 <= high
    assert hits >= 88


def test_no_more_than_one_of_a_hundred_random_labellings_exceeds_the_floor():
    random = np.random.default_rng(3)
    values = random.normal(0, 1, 300)
    labels = np.repeat(np.arange(5), 60)

    def means(some):
        return np.array([values[some == number].mean() for number in range(5)])

    floor = permutation_floor(means, labels)
    exceeding = sum(means(random.permutation(labels)).max() > floor for _ in range(300))
    assert exceeding <= 12
