"""Whether figures of one run fall into two groups, which their mean hides."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST_SHARE = 0.2
"""Of the values in the smaller group, and two of them at least: fewer are outliers."""

LEAST_RATIO = 2.0
"""Of the groups' medians."""

LEAST_SEPARATION = 5.0
"""Ashman's D of the groups (Ashman, Bird, Zepf 1994): a normal distribution cut in two has 2.7, a uniform one 3.5."""


@dataclass(frozen=True)
class TwoModes:
    """Two groups of values.

    Attributes:
        low: median of the lower group.
        high: median of the higher one.
        low_share: of all values, those in the lower group.
    """

    low: float
    high: float
    low_share: float

    def as_json(self) -> dict[str, float]:
        """For a result."""
        return dataclasses.asdict(self)


def two_modes(values: Sequence[float]) -> TwoModes | None:
    """Split values into two groups, on a logarithmic scale where they differ least within; None where it is one group.

    Args:
        values: zero or more each.
    """
    found = np.sort(np.asarray(values, np.float64))
    least = max(2, int(np.ceil(LEAST_SHARE * len(found))))
    if len(found) < 2 * least or found[-1] <= 0:
        return None
    logs = np.log(np.maximum(found, found[-1] / 1000))
    cut = min(range(least, len(found) - least + 1), key=lambda place: _within(logs, place))
    low, high = found[:cut], found[cut:]
    spread = np.sqrt((np.var(logs[:cut]) + np.var(logs[cut:])) / 2)
    separation = (logs[cut:].mean() - logs[:cut].mean()) / max(float(spread), 1e-9)
    medians = float(np.median(low)), float(np.median(high))
    if medians[1] < LEAST_RATIO * medians[0] or separation < LEAST_SEPARATION:
        return None
    return TwoModes(*medians, cut / len(found))


def _within(logs: NDArray[np.float64], cut: int) -> float:
    return float(cut * np.var(logs[:cut]) + (len(logs) - cut) * np.var(logs[cut:]))
