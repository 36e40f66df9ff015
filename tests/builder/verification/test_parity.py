from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from builder.errors import VerificationError
from builder.verification.parity import FP32_LIMITS, Limits, compare, loss_p_value, verify

IMAGES = np.zeros((20, 32, 32, 3), dtype=np.uint8)
REFERENCE = np.random.default_rng(0).normal(size=(20, 10)).astype(np.float32)


def engine(change):
    """An engine that answers from REFERENCE in the order the images come, after `change`."""
    position = 0

    def infer(images):
        nonlocal position
        rows = np.arange(position, position + len(images)) % len(REFERENCE)
        position += len(images)
        return change(REFERENCE[rows].copy(), len(images))

    return infer


def test_an_equal_engine_passes_at_every_batch_size():
    parities = verify(engine(lambda logits, _: logits), IMAGES, REFERENCE, FP32_LIMITS)
    assert [parity.batch_size for parity in parities] == [1, 7, 64]
    assert all(parity.top1_agreement == 1 and parity.max_abs_difference == 0 for parity in parities)


def test_one_wrong_class_in_a_full_batch_is_refused():
    def swap(logits, size):
        if size > 7:
            logits[3] = logits[3][::-1]
        return logits

    with pytest.raises(VerificationError, match=r"batch 64 .* agreement 95\.00 %"):
        verify(engine(swap), IMAGES, REFERENCE, FP32_LIMITS)


def test_a_small_shift_of_every_logit_is_refused():
    with pytest.raises(VerificationError, match="largest logit difference"):
        verify(engine(lambda logits, _: logits + 0.01), IMAGES, REFERENCE, FP32_LIMITS)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_answers_that_are_not_numbers_are_refused(value):
    def spoil(logits, _):
        logits[0, 0] = value
        return logits

    with pytest.raises(VerificationError, match="NaN or infinity"):
        verify(engine(spoil), IMAGES, REFERENCE, FP32_LIMITS)


def test_a_wrong_shape_names_both():
    with pytest.raises(VerificationError, match=r"\(20, 10\), found \(19, 10\)"):
        compare(REFERENCE[:19], REFERENCE, 1)


LABELS = REFERENCE.argmax(axis=1)
LOOSE = Limits(max_relative_difference=10, min_top1_agreement=0)


def mistake(logits, size):
    """A wrong class for the first image of a full batch."""
    if size > 7:
        logits[0] = -logits[0]
    return logits


def test_with_labels_both_accuracies_are_recorded():
    (*_, full) = verify(engine(mistake), IMAGES, REFERENCE, replace(LOOSE, max_accuracy_drop=0.05), LABELS)
    assert (full.reference_accuracy, full.accuracy) == (1.0, 0.95)


def test_a_loss_of_accuracy_is_refused_even_where_everything_else_is_allowed():
    said = r"batch 64 .* 95\.00 % instead of 100\.00 % of 20 images \(limit: a drop of 4\.90 points\)"
    with pytest.raises(VerificationError, match=said):
        verify(engine(mistake), IMAGES, REFERENCE, replace(LOOSE, max_accuracy_drop=0.049), LABELS)


def test_a_gain_is_no_loss():
    wrong = LABELS.copy()
    wrong[:] = REFERENCE.argmin(axis=1)
    (*_, full) = verify(engine(mistake), IMAGES, REFERENCE, LOOSE, wrong)
    assert full.accuracy > full.reference_accuracy


@pytest.mark.parametrize(
    ("lost", "gained", "p"),
    [(0, 0, 1.0), (1, 0, 0.5), (5, 5, 638 / 1024), (10, 0, 1 / 1024), (0, 10, 1.0)],
)
def test_the_paired_test_is_the_exact_one_sided_mcnemar_test(lost, gained, p):
    assert loss_p_value(lost, gained) == pytest.approx(p)


PAIRED = replace(LOOSE, max_accuracy_drop=1, loss_p_value=0.01)


def misclassify(count):
    def change(logits, size):
        if size > 7:
            logits[:count] = -logits[:count]
        return logits

    return change


def test_a_loss_that_chance_does_not_explain_is_refused():
    said = r"batch 64 .*: 7 of 20 images lost and 0 gained, which chance explains with p = 7\.8e-03 \(limit 0\.01\)"
    with pytest.raises(VerificationError, match=said):
        verify(engine(misclassify(7)), IMAGES, REFERENCE, PAIRED, LABELS)


def test_a_loss_that_chance_explains_is_recorded_and_let_pass():
    (*_, full) = verify(engine(misclassify(6)), IMAGES, REFERENCE, PAIRED, LABELS)
    assert (full.lost, full.gained) == (6, 0)
