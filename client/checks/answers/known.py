"""What is known of the right answers before the check: the reference logits, or the model's own, asked alone."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from client.checks.answers.traffic import Exchange, Phase, Traffic

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from client.images import Reference

FINE = 0.03
"""Of the largest logit: how far FP32, TF32 and FP16 may be from the reference; two images of it are 7 % apart."""

COARSE = 0.25
"""The same for INT8 and FP8."""

FINE_PRECISIONS = frozenset({"fp32", "tf32", "fp16", "bf16"})

ALONE_IMAGES = 96
"""Images asked alone where there is no reference."""

ALONE_TIMES = 3
"""How often each of them is asked, every time in another order: what answers wrong does so differently each time."""

_SAME = 0.01
"""Of the largest logit: two answers to an image asked alone that are this close are the same."""

_MOST_LATE = 3
"""An answer asked alone may be that of so many requests before and is still recognised."""

_FAR_MORE = 1.5
"""Times as many images with answers that agree, before all answers are taken to be late."""


@dataclass(frozen=True)
class Known:
    """Images with the answers that are right for them.

    Attributes:
        images: UINT8 [N, 32, 32, 3].
        logits: FP32 [N, 10]; NaN for an image whose answer is not known.
        source: where the answers are from, in words.
        path: of the reference's file; None where there is none.
        allowed: how far a right answer may be away, as a share of the largest logit.
    """

    images: NDArray[np.uint8]
    logits: NDArray[np.float32]
    source: str
    path: Path | None
    allowed: float

    @property
    def usable(self) -> NDArray[np.int64]:
        """Indices of the images whose answers are known."""
        return np.flatnonzero(np.isfinite(self.logits).all(axis=1))

    @property
    def largest(self) -> float:
        """The largest logit, without its sign; 0 when nothing is known."""
        return float(np.abs(self.logits[self.usable]).max(initial=0.0))

    def separations(self) -> NDArray[np.float32]:
        """Of each two images whose answers are known: their largest logit difference."""
        logits = self.logits[self.usable]
        first, second = np.triu_indices(len(logits), 1)
        return np.asarray(np.abs(logits[first] - logits[second]).max(axis=1, initial=0.0), np.float32)


def allowed_by(precision: str | None) -> float:
    """How far a right answer may be away, by the precision that the builder recorded; unknown ones count as fine."""
    return FINE if precision is None or precision.lower() in FINE_PRECISIONS else COARSE


def from_reference(reference: Reference, source: str, allowed: float) -> Known:
    """What PyTorch answered when the model was published."""
    return Known(reference.images, reference.logits, source, reference.path, allowed)


def asked_alone(traffic: Traffic, images: NDArray[np.uint8], allowed: float, rng: np.random.Generator,
                deadline: float) -> Known:  # fmt: skip
    """Ask each image by itself, several times in different orders; the answer that comes again and again is right.

    Args:
        traffic: asks.
        images: UINT8 [N, 32, 32, 3], those of `traffic`.
        allowed: see `Known`.
        rng: gives the orders.
        deadline: on the clock of `time.monotonic`: the first order ends where a third of the time is over.

    Raises:
        ClientError: the server is gone, refuses, or gives no answer in time.
    """
    now = time.monotonic()
    first_ends = now + (deadline - now) / ALONE_TIMES
    asked = rng.permutation(len(images))
    for order in range(ALONE_TIMES):
        sequence = asked if order == 0 else rng.permutation(asked)
        for position, image in enumerate(sequence):
            if order == 0 and position > 1 and time.monotonic() > first_ends:
                asked = asked[:position]
                break
            traffic.ask(np.array([image]), Phase.ALONE)
    return Known(images, agreed(traffic.exchanges, len(images)), "each image asked alone first", None, allowed)


def agreed(exchanges: list[Exchange], count: int) -> NDArray[np.float32]:
    """The answers that images asked alone got more than once, FP32 [count, 10]; NaN where no two agree.

    A server may be wrong in this phase already. One that always gives the answer of the request before contradicts
    itself in every answer, and yet each image's own comes again and again, one place late: where that makes far more
    answers agree, they are taken from there.

    Args:
        exchanges: in the order of sending, one image each.
        count: images.
    """
    width = next((exchange.logits.shape[1] for exchange in exchanges if exchange.logits is not None), 1)
    answers = np.full((len(exchanges) + _MOST_LATE, width), np.nan, np.float32)
    for place, exchange in enumerate(exchanges):
        if exchange.logits is not None:
            answers[place] = exchange.logits[0]
    answers[~np.isfinite(answers).all(axis=1)] = np.nan
    same = _SAME * float(np.nan_to_num(np.abs(answers)).max(initial=0.0))
    asked = np.array([exchange.images[0] for exchange in exchanges], np.int64)
    best = _repeated(asked, answers, count, same)
    for late in range(1, _MOST_LATE + 1):
        found = _repeated(asked, answers[late:], count, same)
        if _known(found) > _FAR_MORE * _known(best):
            best = found
    return best


def _repeated(asked: NDArray[np.int64], answers: NDArray[np.float32], count: int, same: float) -> NDArray[np.float32]:
    """Of each image the answer that most of its others are near to; NaN where none is."""
    found = np.full((count, answers.shape[1]), np.nan, np.float32)
    for image in np.unique(asked):
        candidates = answers[: len(asked)][asked == image]
        alike = (np.abs(candidates[:, None] - candidates[None]).max(axis=2) <= same).sum(axis=1)
        if alike.max() > 1:
            found[image] = candidates[alike.argmax()]
    return found


def _known(logits: NDArray[np.float32]) -> int:
    return int(np.isfinite(logits).all(axis=1).sum())
