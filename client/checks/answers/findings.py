"""From judged answers to sentences: what is wrong, how often, where, and whose answers came instead."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from client.checks.answers.judgement import Judged, Judgement, Kind
from client.checks.answers.patterns import Pattern, every_second, pattern
from client.checks.answers.traffic import Exchange, Outcome, Phase
from client.statistics import formatting

if TYPE_CHECKING:
    from client.checks.answers.known import Known

_ENOUGH_IN_TURN = 20
"""Right answers one after the other that it takes to say that a fault comes with several in flight only."""


@dataclass(frozen=True)
class Finding:
    """Something that is wrong.

    Attributes:
        kind: "other images", "wrong values", "not finite", "other shape", "constant", "contradictions", "inseparable".
        requests: with such an answer.
        of: requests of the same sizes and phases that were answered.
        where: in words; empty where it is anywhere.
        pattern: a `Pattern`'s value where other images' answers came.
        text: all of it as a sentence without its full stop.
    """

    kind: str
    requests: int
    of: int
    where: str
    pattern: str | None
    text: str

    def as_json(self) -> dict[str, Any]:
        """For results."""
        return asdict(self)


def findings(known: Known, judgement: Judgement, exchanges: list[Exchange]) -> list[Finding]:
    """What is wrong with a model's answers, the worst first; empty when they are right."""
    if judgement.constant:
        count = len(judgement.answers)
        text = f"the same answer to every image, in {count:,} requests"
        return [Finding("constant", count, count, "", None, text)]
    found = [
        _inseparable(known, judgement),
        _other_images(judgement, exchanges),
        _of_kind(judgement, Kind.WRONG_VALUE, "wrong values", _wrong_values(known, judgement)),
        _of_kind(judgement, Kind.NOT_FINITE, "not finite", lambda _: "NaN or infinity"),
        _other_shape(exchanges),
        _contradictions(known, exchanges),
    ]
    return [finding for finding in found if finding is not None]


def _of_kind(judgement: Judgement, kind: Kind, name: str, described: Callable[[list[Judged]], str]) -> Finding | None:
    wrong = [answer for answer in judgement.answers if (answer.kinds == kind).any()]
    if not wrong:
        return None
    where, of = _where(wrong, judgement.answers)
    text = f"{described(wrong)}: {_counted(len(wrong), of, where)}"
    return Finding(name, len(wrong), of, where.strip(), None, text)


def _other_images(judgement: Judgement, exchanges: list[Exchange]) -> Finding | None:
    wrong = [answer for answer in judgement.answers if (answer.kinds == Kind.OTHER_IMAGE).any()]
    if not wrong:
        return None
    where, of = _where(wrong, judgement.answers)
    counted = [answer for answer in wrong if _counts(answer, where)]
    whose = pattern(wrong, {exchange.number: exchange for exchange in exchanges})
    said = "rows change places within a request" if whose is Pattern.ROWS else "answers belong to other requests"
    text = f"{said}: {_counted(len(counted), of, where)}"
    if whose not in (Pattern.ROWS, Pattern.NONE):
        turns = ", every second time" if every_second(wrong, judgement.answers) else ""
        text += f"; they are those of {whose.value}{turns}"
    return Finding("other images", len(counted), of, where.strip(), whose.value, text)


def _wrong_values(known: Known, judgement: Judgement) -> Callable[[list[Judged]], str]:
    def described(wrong: list[Judged]) -> str:
        largest = max(float(answer.difference[answer.kinds == Kind.WRONG_VALUE].max()) for answer in wrong)
        share = largest / known.largest if known.largest else np.inf
        allowed = judgement.tolerance / known.largest if known.largest else 0.0
        return (
            f"wrong values, up to {formatting.number(largest)} away "
            f"({formatting.percent(share, 1)} of the largest logit; {formatting.percent(allowed, 1)} is allowed)"
        )

    return described


def _other_shape(exchanges: list[Exchange]) -> Finding | None:
    wrong = [exchange for exchange in exchanges if exchange.outcome is Outcome.OTHER_SHAPE]
    if not wrong:
        return None
    sizes = sorted({len(exchange.images) for exchange in wrong})
    of = sum(len(exchange.images) in sizes for exchange in exchanges)
    where = f" at batch {_listed(sizes)}"
    text = f"answers of another size: {_counted(len(wrong), of, where)}; {wrong[0].message}"
    return Finding("other shape", len(wrong), of, where.strip(), None, text)


def _contradictions(known: Known, exchanges: list[Exchange]) -> Finding | None:
    """Images asked alone whose answers were never twice the same."""
    answered = Counter(
        int(exchange.images[0])
        for exchange in exchanges
        if exchange.phase is Phase.ALONE and exchange.outcome is Outcome.ANSWERED
    )
    alone = {image for image, times in answered.items() if times > 1}
    unknown = len(alone - set(known.usable.tolist()))
    if not unknown:
        return None
    text = f"asked alone, {unknown:,} of {len(alone):,} images got a different answer each time"
    return Finding("contradictions", unknown, len(alone), "asked alone", None, text)


def _inseparable(known: Known, judgement: Judgement) -> Finding | None:
    if judgement.inseparable < judgement.pairs or len(known.usable) < 2:
        return None
    said = "" if known.path else "asked alone, "
    text = f"{said}{len(known.usable):,} images have answers that cannot be told apart: nothing can be checked"
    return Finding("inseparable", 0, 0, "", None, text)


def _where(wrong: list[Judged], answers: list[Judged]) -> tuple[str, int]:
    """Where answers are wrong, with a space before it, and how many requests were answered there."""
    in_turn = [answer for answer in wrong if answer.exchange.phase is not Phase.IN_FLIGHT]
    right = [answer for answer in answers if answer.exchange.phase is not Phase.IN_FLIGHT]
    if not in_turn and len(right) >= _ENOUGH_IN_TURN:
        of = sum(answer.exchange.phase is Phase.IN_FLIGHT for answer in answers)
        return " with several in flight, none one after the other", of
    sizes = {len(answer.exchange.images) for answer in in_turn}
    if len(sizes) == 1 and len({len(answer.exchange.images) for answer in right}) > 1:
        where = f" at batch {sizes.pop()}"
        return where, sum(_counts(answer, where) for answer in answers)
    return "", len(answers)


def _counts(answer: Judged, where: str) -> bool:
    """Whether an answer is one of those that `where` speaks of."""
    if not where.startswith(" at batch "):
        return True
    return answer.exchange.phase is not Phase.IN_FLIGHT and where == f" at batch {len(answer.exchange.images)}"


def _counted(count: int, of: int, where: str) -> str:
    return f"{count:,} of {of:,}{'' if where.startswith(' at ') else ' requests'}{where}"


def _listed(sizes: list[int]) -> str:
    return ", ".join(str(size) for size in sizes[:5]) + (", …" if len(sizes) > 5 else "")
