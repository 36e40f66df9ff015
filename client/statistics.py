"""Figures from measurements: pure functions of arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

PERCENTILES = (50, 90, 95, 99)


@dataclass(frozen=True)
class Proportion:
    """A share with its uncertainty.

    Attributes:
        count: successes.
        total: trials.
        value: count / total, 0..1.
        low: lower end of the Wilson 95 % interval.
        high: upper end.
    """

    count: int
    total: int
    value: float
    low: float
    high: float


def proportion(count: int, total: int) -> Proportion:
    """A share and its Wilson score interval at 95 % (Wilson 1927; scipy's `proportion_ci`).

    Raises:
        ValueError: there were no trials.
    """
    from scipy.stats import binomtest

    if total < 1:
        raise ValueError("a proportion needs at least one trial")
    interval = binomtest(count, total).proportion_ci(confidence_level=0.95, method="wilson")
    return Proportion(count, total, count / total, float(interval.low), float(interval.high))


@dataclass(frozen=True)
class Agreement:
    """How far a server's answers are from the reference's.

    Attributes:
        images: compared.
        same_class: of them, how many got the reference's class.
        max_abs_difference: largest |served - reference| over all logits.
    """

    images: int
    same_class: int
    max_abs_difference: float

    @property
    def top1(self) -> float:
        """Share of images with the same class, 0..1."""
        return self.same_class / self.images


def agreement(logits: NDArray[np.float32], reference: NDArray[np.float32]) -> Agreement:
    """Compare logits [N, C] with a reference of the same shape."""
    same = int((logits.argmax(axis=1) == reference.argmax(axis=1)).sum())
    return Agreement(len(logits), same, float(np.abs(logits - reference).max()))


def latency_summary(latencies_ms: NDArray[np.float64]) -> dict[str, float]:
    """Mean and percentiles (linear interpolation between order statistics), in ms.

    Raises:
        ValueError: there is no latency to summarise.
    """
    if not len(latencies_ms):
        raise ValueError("no request succeeded, so there is no latency")
    values = np.percentile(latencies_ms, PERCENTILES)
    summary = {f"p{percentile}": float(value) for percentile, value in zip(PERCENTILES, values, strict=True)}
    return {"mean": float(latencies_ms.mean()), **summary}
