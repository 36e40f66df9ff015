"""`python -m builder verify`: what was changed, and what answers otherwise than it did."""

from __future__ import annotations

import hashlib
import os

import numpy as np
import pytest

from builder.publishing.repository import Repository
from tests.builder.publishing.tiny import CONFIG, builder, model
from tests.support import models

CHANGES = {
    "the file": (lambda target: (target / "3/model.onnx").write_bytes(b"other"), "version 3: model.onnx has SHA-256"),
    "an older version": (lambda target: (target / "2/model.onnx").write_bytes(b"other"), "version 2: model.onnx has"),
    "the configuration": (lambda target: (target / "config.pbtxt").write_text(CONFIG % 77), "config.pbtxt is not as"),
    "a place's": (lambda target: (target / "configs/cpu.pbtxt").write_text(CONFIG % 77), "configs/cpu.pbtxt is not as"),
    "a place's is gone": (lambda target: (target / "configs/cpu.pbtxt").unlink(), "it is not there"),
    "a place's of their own": (lambda target: (target / "configs/x.pbtxt").write_text(CONFIG % 3), "was not published"),
    "no configuration": (lambda target: (target / "config.pbtxt").write_text("{"), "is not a Triton model"),
    "the labels": (lambda target: (target / "labels.txt").write_bytes(b"b\na\n"), "labels.txt is not as published"),
    "a version of their own": (lambda target: (target / "9").mkdir(), "version 9: it has no provenance.json"),
    "a name that Triton misreads": (lambda target: (target / "3rd").mkdir(), "takes the directory '3rd' for a version"),
    "the record cut short": (lambda target: (target / "versions.json").write_text("{"), "which version numbers were"),
    "the record too low": (lambda target: (target / "versions.json").write_text('{"highest": 2}'), "2 was the highest"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_what_was_changed_by_hand_is_found(repository, case):
    change, said = CHANGES[case]
    assert builder("verify", "--no-answers", f"--repository={repository.path}").returncode == 0
    change(repository.path / "tiny")
    done = builder("verify", "--no-answers", f"--repository={repository.path}")
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_going_back_is_no_change_by_hand(repository):
    repository.roll_back("tiny")
    assert builder("verify", "--no-answers", f"--repository={repository.path}").returncode == 0


@pytest.fixture(scope="module")
def answering(tmp_path_factory):
    """A real ONNX model with its reference answers, published."""
    path = tmp_path_factory.mktemp("answering")
    models.add_classifier(path / "made", "made")
    content = next((path / "made").rglob("model.onnx")).read_bytes()
    images = np.random.default_rng(0).integers(0, 256, (70, 32, 32, 3), np.uint8)
    logits = np.eye(10, dtype=np.float32)[images[:, 0, 0, 0] % 10]
    return path, content, images, logits


@pytest.mark.parametrize(("shift", "code"), [(0, 0), (1, 2)], ids=["right", "of other images"])
def test_reference_images_are_answered_anew(answering, tmp_path, shift, code):
    _, content, images, logits = answering
    path = tmp_path / "reference.npz"
    np.savez_compressed(path, images=images, logits=np.roll(logits, shift, axis=0), max_relative_difference=1e-3,
                        min_top1_agreement=1.0, model_sha256=hashlib.sha256(content).hexdigest())  # fmt: skip
    files = {"model.onnx": content, "reference.npz": path.read_bytes()}
    Repository(tmp_path / "models").publish(model(content, version_files=files))
    done = builder("verify", f"--repository={tmp_path / 'models'}")
    assert done.returncode == code, done.stderr
    assert ("answers otherwise than PyTorch did" if code else "answers as it did") in done.stderr


REFERENCES = {
    "none": (None, 0, "there is no reference.npz"),
    "an older builder's": ({}, 0, "without limits"),
    "a limit missing": ({"min_top1_agreement": 1.0}, 2, "holds no array 'max_relative_difference'"),
    "another model's": ({"max_relative_difference": 1.0, "min_top1_agreement": 1.0, "model_sha256": "0"}, 2, "another"),
    "no archive": (b"x", 2, "cannot be read"),
    "cut short": (b"PK\x03\x04", 2, "cannot be read"),
}


@pytest.mark.parametrize("case", REFERENCES)
def test_reference_answers_that_cannot_be_used(answering, tmp_path, case):
    given, code, said = REFERENCES[case]
    _, content, images, logits = answering
    files = {"model.onnx": content}
    if isinstance(given, dict):
        np.savez_compressed(tmp_path / "a.npz", images=images, logits=logits, **given)
        files["reference.npz"] = (tmp_path / "a.npz").read_bytes()
    elif given is not None:
        files["reference.npz"] = given
    Repository(tmp_path / "models").publish(model(content, version_files=files))
    done = builder("verify", f"--repository={tmp_path / 'models'}")
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_named_pipe_is_not_waited_for(answering, tmp_path):
    Repository(tmp_path / "models").publish(model(answering[1]))
    os.mkfifo(tmp_path / "models/tiny/1/reference.npz")
    done = builder("verify", f"--repository={tmp_path / 'models'}")
    assert done.returncode == 2
    assert "it is no file" in done.stderr
