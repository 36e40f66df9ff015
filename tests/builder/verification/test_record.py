"""When a verification that stands in provenance is taken for today's, and when the model is verified again."""

from __future__ import annotations

import json

import pytest

from builder.verification import record
from builder.verification.parity import Limits, Parity
from cifar10 import synthetic_images

IMAGES = synthetic_images(8)
PARITY = Parity(64, 8, 0.1, 0.01, 1.0)
LIMITS = Limits(max_relative_difference=0.02, min_top1_agreement=0.9)


def under(**changes):
    return {**record.circumstances("0" * 64, "synthetic images", IMAGES), **changes}


def on_disk(made):
    """As provenance.json gives it back."""
    return json.loads(json.dumps(made))


def test_what_passed_under_the_same_circumstances_is_taken_as_it_stands():
    made = on_disk(record.made_now(under(), [PARITY]))
    assert record.passed(made, on_disk(under()), LIMITS) == (PARITY,)
    assert record.passed(made, under(), LIMITS) == (PARITY,), "nothing of it is changed by JSON"


@pytest.mark.parametrize(
    "changes",
    [
        {"checkpoint": "1" * 64},
        {"images": "CIFAR-10, test images"},
        {"images_sha256": "0" * 64},
        {"tools": {"onnxruntime": "1.0"}},
        {"cpu": ["avx2"]},
        {"against": "PyTorch FP16, GPU"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_other_circumstances_mean_another_verification(changes):
    made = on_disk(record.made_now(under(), [PARITY]))
    assert record.passed(made, under(**changes), LIMITS) is None


def test_fewer_images_are_other_images():
    made = on_disk(record.made_now(under(), [PARITY]))
    assert record.passed(made, record.circumstances("0" * 64, "synthetic images", IMAGES[:7]), LIMITS) is None


def test_stricter_limits_refuse_what_passed():
    made = on_disk(record.made_now(under(), [PARITY]))
    assert record.passed(made, under(), Limits(max_relative_difference=0.001, min_top1_agreement=0.9)) is None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda made: None,
        lambda made: [],
        lambda made: {"not_verified": "no GPU"},
        lambda made: {**made, "batches": []},
        lambda made: {**made, "batches": [{"batch_size": 1}]},
        lambda made: {**made, "batches": ["?"]},
        lambda made: {**made, "batches": 7},
        lambda made: {**made, "batches": [{**made["batches"][0], "top1_agreement": None}]},
        lambda made: {**made, "batches": [{**made["batches"][0], "speed": 1}]},
        lambda made: {name: value for name, value in made.items() if name != "at"},
        lambda made: {name: value for name, value in made.items() if name != "batches"},
    ],
)
def test_a_record_of_something_else_spares_nothing(spoil):
    assert record.passed(spoil(on_disk(record.made_now(under(), [PARITY]))), under(), LIMITS) is None
