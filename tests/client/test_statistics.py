from __future__ import annotations

import numpy as np
import pytest

from client.statistics import agreement, latency_summary, proportion


def test_wilson_interval_of_a_published_example():
    # Newcombe (1998), Statistics in Medicine 17, table I: 81 of 263 gives 0.2553 to 0.3662
    interval = proportion(81, 263)
    assert (interval.low, interval.high) == (pytest.approx(0.2553, abs=5e-5), pytest.approx(0.3662, abs=5e-5))


@pytest.mark.parametrize(("count", "low", "high"), [(0, 0, 0.0037), (1000, 0.9963, 1)])
def test_wilson_interval_stays_inside_0_and_1(count, low, high):
    interval = proportion(count, 1000)
    assert (interval.low, interval.high) == (pytest.approx(low, abs=2e-4), pytest.approx(high, abs=2e-4))


def test_no_trials_have_no_proportion():
    with pytest.raises(ValueError, match="at least one"):
        proportion(0, 0)


def test_agreement_counts_classes_and_finds_the_largest_difference():
    reference = np.eye(4, 10, dtype=np.float32)
    logits = reference.copy()
    logits[2, 5] = 1.5
    found = agreement(logits, reference)
    assert (found.images, found.same_class, found.max_abs_difference) == (4, 3, 1.5)
    assert found.top1 == 0.75


def test_percentiles_interpolate():
    summary = latency_summary(np.arange(1.0, 102.0))
    assert summary == {"mean": 51, "p50": 51, "p90": 91, "p95": 96, "p99": 100}


def test_no_answers_have_no_latency():
    with pytest.raises(ValueError, match="no request succeeded"):
        latency_summary(np.array([]))
