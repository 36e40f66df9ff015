"""Statistics against known values, and against what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest

from client.statistics import estimates


def test_wilson_interval_of_a_published_example():
    # Brown, Cai and DasGupta 2001 discuss 0 of n; R: prop.test(0, 10, correct=FALSE) gives 0 to 0.2775328
    found = estimates.proportion(0, 10)
    assert (found.value, found.low) == (0, 0)
    assert found.high == pytest.approx(0.2775328, abs=1e-6)


def test_a_proportion_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one trial"):
        estimates.proportion(0, 0)


def test_mcnemar_of_a_published_example():
    # Agresti, Categorical Data Analysis, table 10.1: 86 changed one way, 150 the other, of 1600 asked twice
    one = np.array([True] * 86 + [False] * 150 + [True] * 794 + [False] * 570)
    other = np.array([False] * 86 + [True] * 150 + [True] * 794 + [False] * 570)
    found = estimates.paired_accuracy(one, other)
    assert (found.wins, found.losses) == (86, 150)
    assert found.difference.value == pytest.approx(-0.04)
    # his Wald interval is -0.040 +- 0.0187; half an image in each cell hardly moves it
    assert found.difference.low == pytest.approx(-0.0587, abs=2e-4)
    assert found.difference.high == pytest.approx(-0.0213, abs=2e-4)
    assert 1e-5 < found.p_value < 5e-5  # his z = -4.17


def test_identical_classifiers_differ_by_nothing_but_not_with_certainty():
    right = np.array([True] * 90 + [False] * 10)
    found = estimates.paired_accuracy(right, right)
    assert (found.wins, found.losses, found.p_value, found.difference.value) == (0, 0, 1.0, 0.0)
    assert found.difference.low < 0 < found.difference.high


@pytest.mark.parametrize("rounds", [5, 7])
def test_intervals_of_ratios_contain_the_truth_as_often_as_promised(rounds):
    generator = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        one, other = np.exp(generator.normal(0, 0.1, (2, rounds)))
        found = estimates.ratio_over_rounds(2 * one, other)
        hits += found.low <= 2 <= found.high
    assert 0.88 <= hits / 200 <= 0.99


def test_a_ratio_is_the_geometric_mean_and_its_inverse_inverts_it():
    found = estimates.ratio_over_rounds([2, 8], [1, 1])
    assert found.value == pytest.approx(4)
    assert estimates.ratio_over_rounds([1, 1], [2, 8]).value == pytest.approx(1 / 4)


def test_one_round_has_no_interval():
    found = estimates.ratio_over_rounds([3], [2])
    assert found.value == pytest.approx(1.5)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_rounds_that_agree_exactly_give_an_interval_of_no_width():
    found = estimates.ratio_over_rounds([3, 3, 3], [2, 2, 2])
    assert (found.low, found.high) == pytest.approx((1.5, 1.5))


def test_percentiles_and_mean():
    summary = estimates.latency_summary(np.arange(101.0))
    assert summary == {"mean": 50, "p50": 50, "p90": 90, "p95": 95, "p99": 99}
    with pytest.raises(ValueError, match="no request succeeded"):
        estimates.latency_summary(np.array([]))


def test_samples_a_percentile_needs():
    assert estimates.samples_for(99) == 299
    assert 1 - 0.99**299 > 0.95 > 1 - 0.99**298
