"""`python -m builder build|export` as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import save_file

from builder.export import onnx_export
from builder.network import checkpoint
from builder.network.resnet import Stem
from builder.publishing.versions import published_versions
from builder.quantization import calibration, ranges
from builder.signature import BATCH_SIZES
from builder.verification.parity import INT8_LIMITS
from cifar10 import Dataset, Split, synthetic_images
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
        assert ("the same file was verified on 256 images" in done.stderr) is (state == "unchanged")
        assert ("verifying resnet18_onnx against" in done.stderr) is (state == "published")
    repository = tmp_path / "model_repository"
    assert sorted(path.name for path in repository.iterdir()) == models.split(",")
    for name in models.split(","):
        directory = repository / name / "1"
        provenance = json.loads((directory / "provenance.json").read_text())
        assert provenance["checkpoint"]["sha256"] == checkpoint.load(checkpoint_file).sha256
        assert [batch["batch_size"] for batch in provenance["verification"]["batches"]] == [1, 7, 64]
        assert provenance["verification"]["images"] == "synthetic images"
        configs = sorted(path.name for path in (repository / name / "configs").iterdir())
        assert configs == ["cpu.pbtxt", "gpu_container.pbtxt", "gpu_embedded.pbtxt"]
    said = builder("inspect", repository / "resnet18_onnx", "--triton-release=26.08").stderr
    for place, file, told in (
        ("no name", "config.pbtxt", "1 x AUTO, no dynamic batching, 1 warm-up"),
        ("cpu", "configs/cpu.pbtxt", "1 x CPU, dynamic batching, 1 warm-up"),
        ("gpu_container", "configs/gpu_container.pbtxt", "4 x GPU, no dynamic batching, 9 warm-ups"),
        ("gpu_embedded", "configs/gpu_embedded.pbtxt", "1 x GPU, dynamic batching, 9 warm-ups, CUDA graphs"),
    ):
        assert f"{place:<13} {file}: {told}" in said


def test_reference_answers_are_those_of_the_published_network(builder, checkpoint_file, tmp_path):
    assert builder("build", f"--checkpoint={checkpoint_file}").returncode == 0
    directory = tmp_path / "model_repository/resnet18_onnx/1"
    with np.load(directory / "reference.npz") as reference:
        images, logits = reference["images"], reference["logits"]
    assert len(images) == 256
    candidates = {image.tobytes() for image in synthetic_images(384)}
    assert all(image.tobytes() in candidates for image in images)
    session = onnxruntime.InferenceSession(directory / "model.onnx", providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"images": images})[0], logits, atol=1e-4)


def sure_of_itself(checkpoint_file, path):
    """Write a checkpoint that sees one class everywhere: an untrained one has many ties, which any rounding tips."""
    loaded = checkpoint.load(checkpoint_file)
    loaded.state["fc.bias"][3] += 1.5
    checkpoint.save(path, loaded.state, loaded.metadata)
    return path


def calibrated(checkpoint_file, path, **changes):
    """Write a calibration of a checkpoint, on synthetic images, and return its path."""
    source = checkpoint.load(checkpoint_file)
    images = synthetic_images(32)
    training = Dataset(images, np.zeros(len(images), np.int64), "CIFAR-10", "0" * 64, Split.TRAIN)
    found = ranges.measure(onnx_export.export(source.classifier(), BATCH_SIZES), source.sha256, training)
    calibration.save(path, replace(found, **changes))
    return path


def test_a_quantised_model_is_built_from_the_calibration_beside_the_checkpoint(builder, checkpoint_file, tmp_path):
    own = sure_of_itself(checkpoint_file, tmp_path / "own.safetensors")
    calibrated(own, tmp_path / "own.calibration.json")
    for state in ("published", "unchanged"):
        done = builder("build", f"--checkpoint={own}")
        assert done.returncode == 0, done.stderr
        assert f"resnet18_onnx_int8: {state} version 1" in done.stderr
    directory = tmp_path / "model_repository/resnet18_onnx_int8"
    provenance = json.loads((directory / "1/provenance.json").read_text())
    assert provenance["precision"] == "int8"
    assert provenance["quantization"]["images"] == 32
    assert provenance["quantization"]["speed_where_built"]["times_as_fast_as_fp32"] > 0
    for config in directory.rglob("*.pbtxt"):
        assert "KIND_CPU" in config.read_text(), "it runs on the CPU in every place"
    with np.load(directory / "1/reference.npz") as reference:
        assert reference["max_relative_difference"] == INT8_LIMITS.max_relative_difference
    float_size, size = (
        (tmp_path / f"model_repository/{name}/1/model.onnx").stat().st_size
        for name in ("resnet18_onnx", "resnet18_onnx_int8")
    )
    assert size < 0.27 * float_size


def test_without_a_calibration_the_others_are_built_and_a_line_says_how_to_get_it(builder, checkpoint_file, tmp_path):
    done = builder("build", f"--checkpoint={checkpoint_file}")
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("not built: resnet18_onnx_int8")]
    assert "there is no calibration at" in line
    assert f"to get it: python -m builder calibrate --checkpoint {checkpoint_file} --data DIR" in line
    assert not (tmp_path / "model_repository/resnet18_onnx_int8").exists()


@pytest.mark.parametrize("how", ["named", "beside, model named", "beside, by default"])
def test_a_calibration_of_another_checkpoint_is_refused(builder, checkpoint_file, tmp_path, how):
    own = sure_of_itself(checkpoint_file, tmp_path / "own.safetensors")
    path = calibrated(own, tmp_path / "own.calibration.json", checkpoint_sha256="f" * 64)
    options = {
        "named": [f"--calibration={path}"],
        "beside, model named": ["--models=resnet18_onnx_int8"],
        "beside, by default": [],
    }[how]
    done = builder("build", f"--checkpoint={own}", *options)
    assert "belongs to another checkpoint" in done.stderr
    assert done.returncode == (0 if how == "beside, by default" else 1)
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "model_repository/resnet18_onnx_int8").exists()


def test_a_damaged_quantised_model_is_never_published(builder, checkpoint_file, tmp_path):
    own = sure_of_itself(checkpoint_file, tmp_path / "own.safetensors")
    path = calibrated(own, tmp_path / "own.calibration.json")
    content = json.loads(path.read_text())
    content["ranges"] = {name: [low / 50, high / 50] for name, (low, high) in content["ranges"].items()}
    path.write_text(json.dumps(content))
    done = builder("build", f"--checkpoint={own}", "--models=resnet18_onnx_int8")
    assert done.returncode == 2
    assert "the model differs from PyTorch" in done.stderr
    assert not (tmp_path / "model_repository/resnet18_onnx_int8").exists()


def test_another_checkpoint_is_the_next_version(builder, checkpoint_file, tmp_path):
    other = write_checkpoint(tmp_path / "other.safetensors", Stem.IMAGENET, seed=1)
    for path in (checkpoint_file, other):
        done = builder("build", f"--checkpoint={path}")
    assert "published version 2" in done.stderr
    assert published_versions(tmp_path / "model_repository/resnet18_onnx") == [1, 2]


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
        (["--checkpoint=wrong.safetensors"], "fc.weight has shape (10, 256), expected (10, 512)"),
        (["--checkpoint=wrapped.safetensors"], "every name begins with 'module.'"),
        (["--checkpoint=strange.safetensors"], "1 missing, fc.bias first; 1 unknown, head.bias first"),
        (
            ["--checkpoint=lfs.safetensors"],
            "it is a Git LFS pointer, not the file itself\nhint: fetch it: git lfs pull",
        ),
        (["--checkpoint=page.safetensors"], "it is an HTML page"),
        (["--checkpoint=pickle.safetensors"], "it is a ZIP archive, as torch.save and numpy.savez write it"),
        (["--checkpoint=empty.safetensors"], "it is empty"),
        (["--models=resnet19"], "unknown model: resnet19"),
        (["--models="], "no model named"),
        (["--max-queue-size=-1"], "--max-queue-size: expected a whole number of 0 to 2147483647, found '-1'"),
        (["--instances=0"], "--instances: expected a whole number of 1 to 2147483647, found '0'"),
        (["--repository=cut.safetensors"], "cut.safetensors is not a directory"),
        (["--data=nowhere"], "nowhere does not exist"),
        (["--calibration=nowhere.json"], "there is no calibration at nowhere.json"),
        (["--calibration=cut.safetensors"], "cut.safetensors is not a calibration"),
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
    state = checkpoint.load(checkpoint_file).state
    wrapped = {f"module.{name}": tensor for name, tensor in state.items()}
    checkpoint.save(tmp_path / "wrapped.safetensors", wrapped, loaded.metadata)
    strange = {name.replace("fc.bias", "head.bias"): tensor for name, tensor in state.items()}
    checkpoint.save(tmp_path / "strange.safetensors", strange, loaded.metadata)
    (tmp_path / "lfs.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    (tmp_path / "page.safetensors").write_text("<!doctype html><title>Sign in</title>")
    torch.save(state, tmp_path / "pickle.safetensors")
    (tmp_path / "empty.safetensors").touch()
    done = builder("build", f"--checkpoint={checkpoint_file}", *arguments)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "model_repository").exists()
