"""A check of one model, from the first request to what a result says of it."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from client.checks.answers import known as known_answers
from client.checks.answers.findings import findings
from client.checks.answers.judgement import Judged, Judgement, Kind, judged
from client.checks.answers.known import Known
from client.checks.answers.traffic import Deck, Exchange, Outcome, Phase, Traffic

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from client.checks.answers.batch_sizes import Size
    from client.connection import Connection, Model

MOST_ROUNDS = 4
"""Rounds one after the other, the first of planned sizes only; a quick server is through before its time is over."""

MOST_IN_FLIGHT = 1000
"""Requests of the phase with several in flight, likewise."""

_ALONE, _FIRST_ROUND, _TOGETHER = 0.2, 0.5, 0.3
"""Shares of the time; what is left of it goes to further rounds."""


class Check:
    """Sends requests and judges what came back; what was measured is kept, whatever ends it.

    Args:
        connection: the server.
        model: whom to ask.
        images: UINT8 [N, 32, 32, 3], those of `known` where it is given.
        known: the right answers; None to ask each image alone first.
        sizes: batch sizes to ask for, ascending.
        allowed: see `Known`; counts where `known` is None.
        concurrency: requests in flight, 2 or more.
        seconds: for all of it, the last request's answer aside.
        seed: of the orders in which images are asked for.

    Raises:
        ClientError: shared memory cannot be had.
    """

    def __init__(
        self,
        connection: Connection,
        model: Model,
        images: NDArray[np.uint8],
        known: Known | None,
        sizes: list[Size],
        *,
        allowed: float,
        concurrency: int,
        seconds: float,
        seed: int = 0,
    ) -> None:
        self.model, self.known, self.sizes = model, known, sizes
        self._images, self._allowed, self._seconds = images, allowed, seconds
        self._concurrency = concurrency
        self._rng = np.random.default_rng(seed)
        self._traffic = Traffic(connection, model, images, sizes[-1].images, concurrency)
        self._took = 0.0

    def run(self) -> None:
        """Ask.

        Raises:
            ClientError: the server is gone, refuses, or gives no answer in time.
        """
        begin = time.monotonic()
        try:
            self._ask(begin)
        finally:
            self._took = time.monotonic() - begin

    def _ask(self, begin: float) -> None:
        share = _FIRST_ROUND
        if self.known is None:
            ends = begin + _ALONE * self._seconds
            self.known = known_answers.asked_alone(self._traffic, self._images, self._allowed, self._rng, ends)
            share += _ALONE
        if len(self.known.usable) < 2:
            return
        deck = Deck(self.known.usable, self._rng)
        self._traffic.round([size for size in self.sizes if size.planned], deck, begin + share * self._seconds)
        together = min(time.monotonic() + _TOGETHER * self._seconds, begin + self._seconds)
        self._traffic.in_flight(self.sizes, deck, self._rng, together, MOST_IN_FLIGHT)
        late = [size for size in self.sizes if size.planned and size.images not in self._reached()]
        self._traffic.round([*late, *self.sizes], deck, begin + self._seconds)
        for _ in range(2, MOST_ROUNDS):
            order = self._rng.permutation(len(self.sizes))
            self._traffic.round([self.sizes[place] for place in order], deck, begin + self._seconds)

    def summary(self) -> dict[str, Any] | None:
        """What a result holds of the check; None where nothing can be said, for want of answers."""
        exchanges = sorted(self._traffic.exchanges, key=lambda exchange: exchange.number)
        told = (Outcome.ANSWERED, Outcome.OTHER_SHAPE)
        if self.known is None or not any(exchange.outcome in told for exchange in exchanges):
            return None
        judgement = judged(self.known, exchanges)
        found = findings(self.known, judgement, exchanges)
        rows = self._rows(judgement, exchanges)
        reached = self._reached()
        return {
            "model": self.model.label,
            "passed": not found,
            "findings": [finding.as_json() for finding in found],
            "reference": self._reference(judgement),
            "requests": len(exchanges),
            "images": sum(row["images"] for row in rows),
            "wrong_images": sum(row["wrong_images"] for row in rows),
            "max_abs_difference": max(row["max_abs_difference"] for row in rows),
            "seconds": self._took,
            "rejected": _count(exchanges, Outcome.REJECTED),
            "failed": _count(exchanges, Outcome.FAILED),
            "failure": next((entry.message for entry in exchanges if entry.outcome is Outcome.FAILED), None),
            "not_reached": [size.images for size in self.sizes if size.images not in reached],
            "planned_not_reached": [size.images for size in self.sizes if size.planned and size.images not in reached],
            "rows": rows,
        }

    def _reached(self) -> set[int]:
        """Batch sizes that were asked for one after the other."""
        return {len(exchange.images) for exchange in self._traffic.exchanges if exchange.phase is Phase.IN_TURN}

    def failure(self) -> str:
        """What the server said instead of an answer, the first time; empty where it always answered."""
        return next((exchange.message for exchange in self._traffic.exchanges if exchange.message), "")

    def _reference(self, judgement: Judgement) -> dict[str, Any]:
        assert self.known is not None, "it was judged against"  # noqa: S101
        separations = self.known.separations()
        return {
            "source": self.known.source,
            "file": str(self.known.path) if self.known.path else None,
            "images": len(self.known.usable),
            "largest_logit": self.known.largest,
            "nearest_pair": float(separations.min()) if len(separations) else None,
            "tolerance": judgement.tolerance,
            "error": judgement.error,
            "pairs": judgement.pairs,
            "inseparable_pairs": judgement.inseparable,
        }

    def _rows(self, judgement: Judgement, exchanges: list[Exchange]) -> list[dict[str, Any]]:
        """A row for each phase and batch size, in the order in which they were first asked for."""
        answers: dict[tuple[Phase, int], list[Judged]] = {}
        for answer in judgement.answers:
            answers.setdefault((answer.exchange.phase, len(answer.exchange.images)), []).append(answer)
        sent = Counter((exchange.phase, len(exchange.images)) for exchange in exchanges)
        return [
            {
                "model": self.model.label,
                "phase": phase.value,
                "concurrency": self._concurrency if phase is Phase.IN_FLIGHT else 1,
                "rate": None,
                "batch_size": size,
                "requests": count,
                **_counted(answers.get((phase, size), [])),
            }
            for (phase, size), count in sorted(
                sent.items(), key=lambda item: (list(Phase).index(item[0][0]), item[0][1])
            )
        ]


def _counted(answers: list[Judged]) -> dict[str, Any]:
    """Figures of the answers of one phase and size."""
    kinds = np.concatenate([np.zeros(0, np.int8), *(answer.kinds for answer in answers)])
    differences = np.concatenate([np.zeros(1, np.float32), *(answer.difference for answer in answers)])
    return {
        "answered": len(answers),
        "images": len(kinds),
        "wrong_requests": sum(bool(answer.wrong.any()) for answer in answers),
        "wrong_images": int((kinds >= Kind.OTHER_IMAGE).sum()),
        "other_images": int((kinds == Kind.OTHER_IMAGE).sum()),
        "wrong_values": int((kinds == Kind.WRONG_VALUE).sum()),
        "not_finite": int((kinds == Kind.NOT_FINITE).sum()),
        "max_abs_difference": float(differences[np.isfinite(differences)].max(initial=0.0)),
    }


def _count(exchanges: list[Exchange], outcome: Outcome) -> int:
    return sum(exchange.outcome is outcome for exchange in exchanges)
