"""How answers are judged, on answers made up here: what a server cannot be made to do reliably."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from client.checks.answers.batch_sizes import sizes
from client.checks.answers.findings import findings
from client.checks.answers.judgement import Kind, judged
from client.checks.answers.known import COARSE, FINE, Known, agreed, allowed_by
from client.checks.answers.traffic import Deck, Exchange, Outcome, Phase

LOGITS = np.random.default_rng(1).normal(size=(40, 10)).astype(np.float32)
LOGITS[1] = LOGITS[0] + 0.07 * np.abs(LOGITS).max()  # as near as the nearest two of the builder's reference
KNOWN = Known(np.zeros((40, 32, 32, 3), np.uint8), LOGITS, "a file", None, FINE)
LARGEST = float(np.abs(LOGITS).max())
OTHER = "answers belong to other requests"


def asked(selections, answer, phase=Phase.IN_TURN) -> list[Exchange]:
    """Exchanges one after the other; `answer(number, selections)` gives each one's logits."""
    return [
        Exchange(number, phase, np.array(images), 2 * number, 2 * number + 1, Outcome.ANSWERED,
                 np.asarray(answer(number, selections), np.float32))
        for number, images in enumerate(selections)
    ]  # fmt: skip


def random_selections(*lengths: int) -> list[np.ndarray]:
    deck = Deck(np.arange(40), np.random.default_rng(2))
    return [deck.draw(length) for length in lengths]


def texts(known: Known, exchanges: list[Exchange]) -> list[str]:
    return [finding.text for finding in findings(known, judged(known, exchanges), exchanges)]


def right(number, selections):
    return LOGITS[selections[number]]


@pytest.mark.parametrize(
    ("largest", "configured", "planned", "between"),
    [
        (0, (), {1}, set()),
        (1, (), {1}, set()),
        (2, (), {1, 2}, set()),
        (8, (), {1, 2, 4, 8}, {3, 5, 7}),
        (6, (), {1, 2, 4, 6}, {3, 5}),
        (24, (24, 20, 100, 0), {1, 2, 4, 8, 16, 20, 24}, {3, 5, 7, 9, 13, 15, 17, 19, 21, 23}),
    ],
)
def test_planned_sizes_and_those_between(largest, configured, planned, between):
    found = sizes(largest, configured)
    assert {size.images for size in found if size.planned} == planned
    assert {size.images for size in found if not size.planned} == between
    assert [size.images for size in found] == sorted(planned | between)
    assert all(size.requests >= 1 for size in found)


def test_the_batch_plans_sizes_cover_each_power_of_two_and_its_neighbours():
    found = {size.images for size in sizes(256)}
    assert {1, 2, 4, 8, 16, 32, 64, 128, 256} <= found
    assert {65, 127, 129, 255} <= found


def test_a_deck_gives_every_image_once_before_any_twice():
    deck = Deck(np.arange(10), np.random.default_rng(0))
    drawn = np.concatenate([deck.draw(count) for count in (3, 7, 4, 16)])
    assert all(sorted(drawn[start : start + 10]) == list(range(10)) for start in (0, 10, 20))
    assert drawn[:10].tolist() != drawn[10:20].tolist()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (right, None),
        (lambda n, s: right(n, s) + 0.004 * LARGEST, None),
        (lambda n, s: right(max(n - 1, 0), s), f"{OTHER}: 11 of 12 requests; they are those of the request before"),
        (lambda n, s: right(max(n - 3, 0), s),
         f"{OTHER}: 11 of 12 requests; they are those of the request three before"),
        (lambda n, s: right(n - n % 2, s),
         f"{OTHER}: 6 of 12 requests; they are those of the request before, every second time"),
        (lambda n, s: right(n, s)[::-1], "rows change places within a request: 12 of 12 requests"),
        (lambda n, s: np.roll(right(n, s), 1, axis=0), "rows change places within a request: 12 of 12 requests"),
        (lambda n, s: LOGITS[(s[n] * 7 + 3) % 40], f"{OTHER}: 12 of 12 requests"),
        (lambda n, s: right(n, s) * 2, "wrong values"),
        (lambda n, s: np.full((len(s[n]), 10), np.inf), "NaN or infinity: 12 of 12 requests"),
        (lambda n, s: np.zeros((len(s[n]), 10)), "the same answer to every image, in 12 requests"),
    ],
)  # fmt: skip
def test_what_is_said_of_answers(answer, said):
    found = texts(KNOWN, asked(random_selections(*[6] * 12), answer))
    assert (found == []) if said is None else found[0].startswith(said), found
    if said and "other requests: 12" in said:
        assert found[0].endswith("requests"), "no pattern is claimed where there is none"


def test_a_fault_at_one_size_names_it_and_counts_there():
    lengths = [4, 8, 4, 8, 4, 8, 4, 8]
    found = texts(KNOWN, asked(random_selections(*lengths), lambda n, s: right(n - (lengths[n] == 8), s)[: lengths[n]]
                               if lengths[n] == 4 else np.concatenate([right(n - 1, s), right(n, s)[4:]])))  # fmt: skip
    assert found == ["answers belong to other requests: 4 of 4 at batch 8; they are those of the request before"]


def test_answers_to_requests_in_flight_are_told_from_those_in_turn():
    in_turn = asked(random_selections(*[3] * 25), right)
    selections = random_selections(*[2] * 8)
    together = [
        replace(exchange, number=25 + place, begin=100, end=200)
        for place, exchange in enumerate(asked(selections, lambda n, s: right((n + 1) % 8, s), Phase.IN_FLIGHT))
    ]
    found = texts(KNOWN, in_turn + together)
    assert found == [
        "answers belong to other requests: 8 of 8 requests with several in flight, none one after the other; "
        "they are those of other requests in flight at the same time"
    ]


@pytest.mark.parametrize(("precision", "allowed"), [(None, FINE), ("fp32", FINE), ("TF32", FINE), ("fp16", FINE),
                                                   ("int8", COARSE), ("fp8", COARSE)])  # fmt: skip
def test_the_precision_says_how_far_an_answer_may_be_away(precision, allowed):
    assert allowed_by(precision) == allowed


def test_the_nearest_images_that_a_coarse_model_cannot_tell_apart_are_counted():
    known = replace(KNOWN, allowed=COARSE)
    noise = np.random.default_rng(0).uniform(-0.08, 0.08, LOGITS.shape) * LARGEST
    exchanges = asked(random_selections(*[10] * 20), lambda n, s: (LOGITS + noise)[s[n]])
    judgement = judged(known, exchanges)
    assert not findings(known, judgement, exchanges)
    separations = known.separations()
    assert judgement.pairs == len(separations) == 40 * 39 // 2
    assert judgement.inseparable == (separations <= judgement.tolerance + judgement.error).sum() > 0
    fine = judged(KNOWN, asked(random_selections(*[10] * 20), right))
    assert fine.inseparable == (separations <= 0.01 * LARGEST).sum()


@pytest.mark.parametrize("late", [0, 1, 2, 3])
def test_images_asked_alone_are_known_even_from_a_server_that_is_always_late(late):
    rng = np.random.default_rng(0)
    order = np.concatenate([rng.permutation(40) for _ in range(3)])
    exchanges = asked([[image] for image in order], lambda n, s: LOGITS[s[max(n - late, 0)]], Phase.ALONE)
    found = agreed(exchanges, 40)
    known = np.isfinite(found).all(axis=1)
    assert known.sum() >= 39
    np.testing.assert_array_equal(found[known], LOGITS[known])
    said = texts(replace(KNOWN, logits=found), exchanges)
    assert bool(said) == (late > 0)


def test_images_that_never_get_the_same_answer_twice_are_left_out_and_named():
    rng = np.random.default_rng(0)
    order = np.concatenate([rng.permutation(40) for _ in range(3)])
    exchanges = asked([[image] for image in order],
                      lambda n, s: LOGITS[s[n]] if s[n][0] < 30 else rng.normal(size=(1, 10)), Phase.ALONE)  # fmt: skip
    found = agreed(exchanges, 40)
    assert np.isfinite(found).all(axis=1).sum() == 30
    known = replace(KNOWN, logits=found)
    assert texts(known, exchanges) == ["asked alone, 10 of 40 images got a different answer each time"]
    assert all((answer.kinds == Kind.UNKNOWN).all() for answer in judged(known, exchanges).answers
               if answer.exchange.images[0] >= 30)  # fmt: skip
