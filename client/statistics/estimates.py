"""Figures from measurements: pure functions of arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

CONFIDENCE = 0.95
PERCENTILES = (50, 90, 95, 99)

_RESAMPLES = 9999


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval.

    Attributes:
        value: the figure.
        low: lower end; NaN where one round gives no interval.
        high: upper end.
    """

    value: float
    low: float
    high: float


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
    interval = binomtest(count, total).proportion_ci(confidence_level=CONFIDENCE, method="wilson")
    return Proportion(count, total, count / total, float(interval.low), float(interval.high))


@dataclass(frozen=True)
class Agreement:
    """How far one set of answers is from another.

    Attributes:
        images: compared.
        same_class: of them, how many got the same class.
        max_abs_difference: largest |difference| over all logits.
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


@dataclass(frozen=True)
class PairedAccuracy:
    """Two classifiers on the same images.

    Attributes:
        wins: images that only the first got right.
        losses: images that only the second got right.
        p_value: exact McNemar test (McNemar 1947) of both being as accurate.
        difference: accuracy of the first minus that of the second, -1..1, with the Agresti-Min interval.
    """

    wins: int
    losses: int
    p_value: float
    difference: Interval


def paired_accuracy(correct: NDArray[np.bool_], baseline: NDArray[np.bool_]) -> PairedAccuracy:
    """Compare which images two classifiers get right.

    The interval adds half an image to each of the four cells (Agresti and Min 2005, "Simple improved confidence
    intervals for comparing matched proportions"), so it does not vanish where the classifiers never differ.

    Args:
        correct: of the one, bool [N].
        baseline: of the other, on the same images.
    """
    from scipy.stats import binomtest, norm

    wins, losses = int((correct & ~baseline).sum()), int((~correct & baseline).sum())
    p_value = float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0
    total = len(correct) + 2
    more, less = wins + 0.5, losses + 0.5
    centre = (more - less) / total
    error = math.sqrt(more + less - (more - less) ** 2 / total) / total
    half = float(norm.ppf((1 + CONFIDENCE) / 2)) * error
    return PairedAccuracy(wins, losses, p_value, Interval((wins - losses) / len(correct), centre - half, centre + half))


def mean_over_rounds(values: Sequence[float]) -> Interval:
    """Geometric mean of positive figures, one a round, with a bootstrap interval over the rounds."""
    return ratio_over_rounds(values, [1.0] * len(values))


def ratio_over_rounds(values: Sequence[float], baseline: Sequence[float]) -> Interval:
    """Ratio of two figures measured side by side, one pair a round, with a bootstrap interval over the rounds.

    The figure is the geometric mean of the rounds' ratios. A percentile bootstrap of few rounds is too narrow; its
    percentiles are moved outwards as a t interval is wider than a normal one (Hesterberg 2015, "What Teachers Should
    Know About the Bootstrap", expanded percentile interval).

    Args:
        values: of the one, all more than 0.
        baseline: of the other, in the same rounds.

    Returns:
        The ratio; its interval is NaN for a single round.
    """
    from scipy.stats import bootstrap, norm, t

    logs = np.log(np.asarray(values, float) / np.asarray(baseline, float))
    rounds, centre = len(logs), float(logs.mean())
    if rounds < 2:
        return Interval(math.exp(centre), math.nan, math.nan)
    wider = math.sqrt(rounds / (rounds - 1)) * t.ppf((1 - CONFIDENCE) / 2, rounds - 1)
    tail = float(norm.cdf(wider))
    found = bootstrap(
        (logs,),
        np.mean,
        confidence_level=1 - 2 * tail,
        method="percentile",
        n_resamples=_RESAMPLES,
        rng=np.random.default_rng(0),  # the same measurements give the same interval
    ).confidence_interval
    return Interval(math.exp(centre), math.exp(found.low), math.exp(found.high))


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


def samples_for(percentile: float) -> int:
    """How many samples show a percentile at all: with 95 % confidence the largest of them lies beyond it."""
    return math.ceil(math.log(1 - CONFIDENCE) / math.log(percentile / 100))
