"""Every row of every answer held against what is right for its image, and else against the other images'."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from client.checks.answers.traffic import Exchange, Outcome

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from client.checks.answers.known import Known

SMALLEST_TOLERANCE = 0.01
"""Of the largest logit: rounding that differs from batch to batch stays below it, in FP16 too."""


class Kind(enum.IntEnum):
    """What a row of an answer is."""

    RIGHT = 0
    UNKNOWN = 1  # its image's answer is not known
    OTHER_IMAGE = 2  # another image's answer
    WRONG_VALUE = 3  # no image's answer
    NOT_FINITE = 4


@dataclass(frozen=True)
class Judged:
    """An answer, row by row.

    Attributes:
        exchange: what was asked and answered.
        kinds: a `Kind` each, int8 [N].
        difference: largest logit difference to the right answer, float32 [N]; NaN where that is unknown.
        fits: which images' answers a row could be, bool [N, images]; None where every row is right or unknown.
    """

    exchange: Exchange
    kinds: NDArray[np.int8]
    difference: NDArray[np.float32]
    fits: NDArray[np.bool_] | None

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """Which rows are wrong, bool [N]."""
        return np.asarray(self.kinds >= Kind.OTHER_IMAGE)


@dataclass(frozen=True)
class Judgement:
    """All answers of a check, and how finely they could be told apart.

    Attributes:
        answers: in the order of sending.
        tolerance: logit difference up to which an answer counts as an image's own.
        error: how far answers that are their image's own were from it, at most.
        pairs: of images whose answers are known.
        inseparable: how many of these are so close that one's answer would pass for the other's.
        constant: whether every image got the same answer.
    """

    answers: list[Judged]
    tolerance: float
    error: float
    pairs: int
    inseparable: int
    constant: bool


def judged(known: Known, exchanges: list[Exchange]) -> Judgement:
    """Judge all answers of a check.

    How far a right answer may be away follows from the model itself: twice as far as the best answer to each image,
    within `SMALLEST_TOLERANCE` and `known.allowed`. So a coarse model is not taken for a wrong one, and of an exact one
    nothing is overlooked.

    Args:
        known: the right answers.
        exchanges: what was asked and answered.
    """
    answered = sorted((exchange for exchange in exchanges if exchange.outcome is Outcome.ANSWERED),
                      key=lambda exchange: exchange.number)  # fmt: skip
    differences = [_differences(exchange, known) for exchange in answered]
    error = min(_least(known, answered, differences), known.allowed * known.largest)
    tolerance = min(max(2 * error, SMALLEST_TOLERANCE * known.largest), known.allowed * known.largest)
    answers = [_judged(exchange, difference, known, tolerance)
               for exchange, difference in zip(answered, differences, strict=True)]  # fmt: skip
    right = [answer.difference[answer.kinds == Kind.RIGHT] for answer in answers]
    error = float(np.concatenate([*right, np.zeros(1)]).max())
    separations = known.separations()
    inseparable = int((separations <= tolerance + error).sum())
    return Judgement(answers, tolerance, error, len(separations), inseparable, _constant(answered, tolerance))


def _differences(exchange: Exchange, known: Known) -> NDArray[np.float32]:
    with np.errstate(invalid="ignore"):  # infinity less infinity
        return np.asarray(np.abs(_logits(exchange) - known.logits[exchange.images]).max(axis=1))


def _least(known: Known, answered: list[Exchange], differences: list[NDArray[np.float32]]) -> float:
    """How far an image's best answer is from its own, over all images."""
    best = np.full(len(known.images), np.inf)
    for exchange, difference in zip(answered, differences, strict=True):
        np.fmin.at(best, exchange.images, difference)
    return float(best[np.isfinite(best)].max(initial=0.0))


def _judged(exchange: Exchange, difference: NDArray[np.float32], known: Known, tolerance: float) -> Judged:
    logits = _logits(exchange)
    kinds = np.where(difference <= tolerance, Kind.RIGHT, Kind.WRONG_VALUE).astype(np.int8)
    kinds[~np.isfinite(known.logits[exchange.images]).all(axis=1)] = Kind.UNKNOWN
    kinds[~np.isfinite(logits).all(axis=1)] = Kind.NOT_FINITE
    wrong = np.flatnonzero(kinds == Kind.WRONG_VALUE)
    fits = None
    if len(wrong):
        fits = np.zeros((len(logits), len(known.logits)), bool)
        with np.errstate(invalid="ignore"):
            fits[wrong] = np.abs(logits[wrong][:, None] - known.logits[None]).max(axis=2) <= tolerance
        kinds[fits.any(axis=1)] = Kind.OTHER_IMAGE
    return Judged(exchange, kinds, difference, fits)


def _constant(answered: list[Exchange], tolerance: float) -> bool:
    """Whether different images all got the same finite answer."""
    if len({int(image) for exchange in answered for image in exchange.images[:2]}) < 2:
        return False
    first = _logits(answered[0])[0]
    with np.errstate(invalid="ignore"):  # infinity less infinity
        return all(bool((np.abs(_logits(exchange) - first).max(axis=1) <= tolerance).all()) for exchange in answered)


def _logits(exchange: Exchange) -> NDArray[np.float32]:
    assert exchange.logits is not None, "only answered requests are judged"  # noqa: S101
    return exchange.logits
