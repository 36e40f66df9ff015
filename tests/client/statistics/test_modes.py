from __future__ import annotations

import numpy as np
import pytest

from client.load import summary
from client.load.generator import Load, Outcome, Record
from client.statistics.modes import two_modes


def test_two_halves_of_one_run_are_told_apart():
    generator = np.random.default_rng(0)
    values = [*(89 * generator.normal(1, 0.05, 30)), *(2103 * generator.normal(1, 0.05, 10))]
    found = two_modes(generator.permutation(values))
    assert found is not None
    assert found.low == pytest.approx(89, rel=0.05)
    assert found.high == pytest.approx(2103, rel=0.05)
    assert found.low_share == 0.75


@pytest.mark.parametrize(
    "values",
    [
        [],
        [1.0],
        [0.0] * 40,
        [100.0] * 40,
        [100, 101, 99, 100, 5],  # an outlier is not a mode
        np.random.default_rng(1).normal(100, 10, 40),
        np.random.default_rng(2).uniform(50, 300, 40),
        np.random.default_rng(3).lognormal(0, 0.5, 40),
        np.geomspace(10, 1000, 40),  # a trend
    ],
    ids=["none", "one", "zeros", "equal", "outlier", "normal", "uniform", "skewed", "trend"],
)
def test_one_group_stays_one(values):
    assert two_modes(values) is None


def test_a_server_that_stands_still_half_of_the_time():
    found = two_modes([0, 0, 0, 200, 210, 190])
    assert (found.low, found.high) == (0, 200)


def record(times: np.ndarray, end: float) -> Record:
    return Record(times, times, times, np.full(len(times), Outcome.ANSWERED, np.int8), 0.0, end, 0.0)


def window(times: np.ndarray, end: float = 2.0, **load):
    from types import SimpleNamespace

    return SimpleNamespace(load=Load(1, end, **(load or {"concurrency": 8})), record=record(times, end))


def test_a_change_within_a_window_shows_and_between_windows_too():
    slow, fast = np.arange(0, 1, 1 / 90), np.arange(1, 2, 1 / 2100)
    within = [window(np.concatenate([slow, fast]))]
    between = [window(np.arange(0, 2, 1 / rate)) for rate in (90, 2100, 90, 2100, 95)]
    for windows in (within, between):
        modes = summary._modes(windows)
        assert modes["low"] == pytest.approx(90, rel=0.15)
        assert modes["high"] == pytest.approx(2100, rel=0.15)
    assert summary._modes([window(np.arange(0, 2, 1 / 90))] * 5) is None


def test_a_few_slow_requests_are_no_modes():
    times = np.arange(0.3, 2, 0.6)
    assert summary._modes([window(times)] * 5) is None
