"""Whose answers came instead of the right ones, where that can be told."""

from __future__ import annotations

import enum
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from client.checks.answers.traffic import Phase

if TYPE_CHECKING:
    from client.checks.answers.judgement import Judged
    from client.checks.answers.traffic import Exchange

ENOUGH = 0.9
"""Share of the wrong rows that a pattern must explain to be named."""

_MOST_BESIDE = 0.5
"""Share of all images that the requests in flight beside one may hold, or any wrong answer would be one of theirs."""


class Pattern(str, enum.Enum):
    """Whose answers wrong rows are."""

    ONE_BEFORE = "the request before"
    TWO_BEFORE = "the request two before"
    THREE_BEFORE = "the request three before"
    ROWS = "other rows of the same request"
    BESIDE = "other requests in flight at the same time"
    NONE = "no pattern known here"


_STEPS = {Pattern.ONE_BEFORE: 1, Pattern.TWO_BEFORE: 2, Pattern.THREE_BEFORE: 3}


def pattern(wrong: list[Judged], sent: dict[int, Exchange]) -> Pattern:
    """The pattern that explains wrong rows of other images' answers.

    Only requests sent one after the other have a request before them; they decide where there are any.

    Args:
        wrong: the answers that hold such rows, at least one.
        sent: all requests, by their number.
    """
    in_turn = [answer for answer in wrong if answer.exchange.phase is not Phase.IN_FLIGHT]
    shares = {name: _late(in_turn, sent, steps) for name, steps in _STEPS.items()}
    shares[Pattern.ROWS] = _rows(in_turn or wrong)
    if not in_turn:
        shares[Pattern.BESIDE] = _beside(wrong, list(sent.values()))
    best = max(shares, key=lambda name: shares[name])
    return best if shares[best] >= ENOUGH else Pattern.NONE


def every_second(wrong: list[Judged], answers: list[Judged]) -> bool:
    """Whether right and wrong answers take turns, among the requests sent one after the other."""
    numbers = {answer.exchange.number for answer in wrong}
    phases = {answer.exchange.phase for answer in wrong} - {Phase.IN_FLIGHT}
    sizes = {len(answer.exchange.images) for answer in wrong}
    flags = [answer.exchange.number in numbers for answer in answers
             if answer.exchange.phase in phases and len(answer.exchange.images) in sizes]  # fmt: skip
    changes = sum(one != other for one, other in pairwise(flags))
    return len(flags) >= 6 and changes >= ENOUGH * (len(flags) - 1)


def _late(wrong: list[Judged], sent: dict[int, Exchange], steps: int) -> float:
    """Share of the wrong rows that are the answer to the same row of the request so many before.

    Rows that the request before did not have are left out: what lies there is older.
    """
    explained = counted = 0
    for answer in wrong:
        before = sent.get(answer.exchange.number - steps)
        if before is None or answer.fits is None:
            continue
        rows = np.flatnonzero(answer.fits.any(axis=1))
        rows = rows[rows < len(before.images)]
        explained += int(answer.fits[rows, before.images[rows]].sum())
        counted += len(rows)
    return explained / counted if counted else 0.0


def _rows(wrong: list[Judged]) -> float:
    """Share of the wrong rows in answers that hold their request's own images' answers, in another order.

    A single row may be a stranger's, as where everything is shifted by one.
    """
    explained = counted = 0
    for answer in wrong:
        if answer.fits is None:
            continue
        images = answer.exchange.images
        rows = np.flatnonzero(answer.fits.any(axis=1))
        counted += len(rows)
        # the rows' own images are those that the wrong rows must share among them, each as often as it was asked for
        wanted = Counter(images[rows].tolist())
        taken = Counter(int(np.flatnonzero(answer.fits[row])[0]) for row in rows)
        strangers = sum((taken - wanted).values())
        explained += len(rows) if strangers <= (len(rows) > 2) else 0
    return explained / counted if counted else 0.0


def _beside(wrong: list[Judged], sent: list[Exchange]) -> float:
    """Share of the wrong rows that answer an image of another request in flight at the same time."""
    explained = counted = 0
    for answer in wrong:
        if answer.fits is None:
            continue
        own = answer.exchange
        others = [
            other.images for other in sent if other is not own and other.begin < own.end and own.begin < other.end
        ]
        images = np.unique(np.concatenate([*others, own.images]))
        if len(images) > _MOST_BESIDE * answer.fits.shape[1]:
            continue
        rows = answer.fits[answer.fits.any(axis=1)]
        explained += int(rows[:, images].any(axis=1).sum())
        counted += len(rows)
    return explained / counted if counted else 0.0
