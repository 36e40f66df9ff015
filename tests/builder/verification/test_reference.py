"""What lies in reference.npz, and who can read it."""

from __future__ import annotations

import hashlib
import sys

import numpy as np

from builder.network import checkpoint
from builder.verification import parity, reference
from builder.verification.parity import FP16_LIMITS
from cifar10 import synthetic_images
from client.images import load_reference

ANSWERS = reference.Answers(synthetic_images(6), np.random.default_rng(0).normal(size=(6, 10)).astype(np.float32))


def test_only_clear_answers_are_kept_and_each_with_its_image(checkpoint_file):
    classifier = checkpoint.load(checkpoint_file).classifier()
    kept = reference.ask(classifier, 8)
    images = synthetic_images(12)
    logits = parity.reference_logits(classifier, images)
    margins = {image.tobytes(): np.diff(np.sort(row)[-2:])[0] for image, row in zip(images, logits, strict=True)}
    found = [margins[image.tobytes()] for image in kept.images]
    assert np.allclose(sorted(found), sorted(margins.values())[-8:], atol=1e-5)
    assert np.allclose(kept.logits, parity.reference_logits(classifier, kept.images), atol=1e-5)


def test_the_client_reads_what_the_builder_writes(tmp_path):
    path = tmp_path / reference.REFERENCE_FILE
    path.write_bytes(reference.to_bytes(ANSWERS, FP16_LIMITS, b"model"))
    read = load_reference(path)
    assert np.array_equal(read.images, ANSWERS.images)
    assert np.array_equal(read.logits, ANSWERS.logits)


def test_the_backends_read_what_the_builder_writes(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend("server/backends/shared")
    import reference_check

    model = tmp_path / "model.plan"
    model.write_bytes(b"model")
    path = model.with_name(reference.REFERENCE_FILE)
    path.write_bytes(reference.to_bytes(ANSWERS, FP16_LIMITS, b"model"))
    read = reference_check.load(path, model)
    sys.modules.pop("reference_check")
    assert read is not None
    assert np.array_equal(read.logits, ANSWERS.logits)
    assert read.max_relative_difference == FP16_LIMITS.max_relative_difference
    assert read.min_top1_agreement == FP16_LIMITS.min_top1_agreement


def test_a_scalar_names_the_model(tmp_path):
    path = tmp_path / reference.REFERENCE_FILE
    path.write_bytes(reference.to_bytes(ANSWERS, FP16_LIMITS, b"model"))
    with np.load(path) as arrays:
        assert str(arrays["model_sha256"]) == hashlib.sha256(b"model").hexdigest()
