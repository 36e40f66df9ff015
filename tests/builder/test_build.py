"""`python -m builder build|export` as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import save_file

from builder import checkpoint
from builder.resnet import Stem
from cifar10 import synthetic_images
from tests.builder.conftest import write_checkpoint

ROOT = Path(__file__).parents[2]


@pytest.fixture
def builder(tmp_path):
    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "builder", *map(str, arguments)]
        environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    return run


def test_build_publishes_verified_models_and_a_second_build_changes_nothing(builder, checkpoint_file, tmp_path):
    models = "resnet18_onnx,resnet18_onnx_fp16"
    for state in ("published", "unchanged"):
        done = builder("build", f"--checkpoint={checkpoint_file}", f"--models={models}")
        assert done.returncode == 0, done.stderr
        assert f"resnet18_onnx: {state} version 1" in done.stderr
        assert f"resnet18_onnx_fp16: {state} version 1" in done.stderr
    repository = tmp_path / "model_repository"
    assert sorted(path.name for path in repository.iterdir()) == models.split(",")
    for name in models.split(","):
        directory = repository / name / "1"
        provenance = json.loads((directory / "provenance.json").read_text())
        assert provenance["checkpoint"]["sha256"] == checkpoint.load(checkpoint_file).sha256
        assert [batch["batch_size"] for batch in provenance["verification"]["batches"]] == [1, 7, 64]
        assert provenance["verification"]["images"] == "synthetic images"


def test_reference_answers_are_those_of_the_published_network(builder, checkpoint_file, tmp_path):
    assert builder("build", f"--checkpoint={checkpoint_file}").returncode == 0
    directory = tmp_path / "model_repository/resnet18_onnx/1"
    with np.load(directory / "reference.npz") as reference:
        images, logits = reference["images"], reference["logits"]
    assert np.array_equal(images, synthetic_images(len(images)))
    session = onnxruntime.InferenceSession(directory / "model.onnx", providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"images": images})[0], logits, atol=1e-4)


def test_another_checkpoint_is_the_next_version(builder, checkpoint_file, tmp_path):
    other = write_checkpoint(tmp_path / "other.safetensors", Stem.IMAGENET, seed=1)
    for path in (checkpoint_file, other):
        done = builder("build", f"--checkpoint={path}")
    assert "published version 2" in done.stderr
    assert sorted(path.name for path in (tmp_path / "model_repository/resnet18_onnx").iterdir() if path.is_dir()) == [
        "1",
        "2",
    ]


def test_a_network_whose_answers_are_not_numbers_is_never_published(builder, tmp_path):
    path = write_checkpoint(tmp_path / "broken.safetensors", Stem.IMAGENET)
    loaded = checkpoint.load(path)
    loaded.state["fc.weight"][0, 0] = float("nan")
    checkpoint.save(path, loaded.state, loaded.metadata)
    done = builder("build", f"--checkpoint={path}")
    assert done.returncode == 2
    assert "hold NaN or infinity" in done.stderr
    assert not (tmp_path / "model_repository/resnet18_onnx").exists()


def test_export_writes_a_model_that_runs(builder, checkpoint_file, tmp_path):
    assert builder("export", f"--checkpoint={checkpoint_file}", "--output=a/net.onnx").returncode == 0
    session = onnxruntime.InferenceSession(tmp_path / "a/net.onnx", providers=["CPUExecutionProvider"])
    assert session.run(None, {"images": synthetic_images(3)})[0].shape == (3, 10)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--checkpoint=missing.safetensors"], "no checkpoint at missing.safetensors"),
        (["--checkpoint=cut.safetensors"], "cut.safetensors is not a readable safetensors file"),
        (["--checkpoint=other.safetensors"], "expected architecture 'resnet18' in checkpoint format 1; found 'vgg'"),
        (["--checkpoint=wrong.safetensors"], "the weights are not those of a resnet18"),
        (["--models=resnet19"], "unknown model: resnet19"),
        (["--models="], "no model named"),
        (["--max-queue-size=-1"], "--max-queue-size must be 0 or more; found -1"),
        (["--instances=0"], "--instances must be 1 or more; found 0"),
        (["--repository=cut.safetensors"], "cut.safetensors is not a directory"),
        (["--data=nowhere"], "nowhere does not exist"),
    ],
)
def test_bad_input_is_one_line_and_publishes_nothing(builder, checkpoint_file, tmp_path, arguments, said):
    (tmp_path / "cut.safetensors").write_bytes(checkpoint_file.read_bytes()[:1000])
    save_file(
        {"a": torch.zeros(1)}, tmp_path / "other.safetensors", {"checkpoint": '{"format": 1, "architecture": "vgg"}'}
    )
    loaded = checkpoint.load(checkpoint_file)
    loaded.state["fc.weight"] = torch.zeros(10, 256)
    checkpoint.save(tmp_path / "wrong.safetensors", loaded.state, loaded.metadata)
    done = builder("build", f"--checkpoint={checkpoint_file}", *arguments)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "model_repository").exists()
