"""`python -m builder build` and `inspect` on a machine with TensorRT and a GPU, as far as a fake can be both.

What a plan computes cannot be faked: where a test publishes one, PyTorch answers in its place.
"""

from __future__ import annotations

import errno
import json
import os
import sys

import pytest

from builder import pipeline
from builder.__main__ import parser
from builder.errors import TensorRTError
from builder.export import onnx_export
from builder.network import checkpoint
from builder.publishing import repository
from builder.tensorrt import availability, engine, machine
from builder.verification import parity
from console import ExitCode, nvidia, run
from tests.support import fake_tensorrt
from tests.support.fake_tensorrt import Behaviour


@pytest.fixture
def builder(checkpoint_file, tmp_path, monkeypatch, capfd):
    """Run the command line in a fresh directory; returns its exit code and what it said."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CIFAR10_DIR", raising=False)
    monkeypatch.delenv("TRITON_RELEASE", raising=False)
    # What is said is tested here, and PyTorch stands in for the GPU: 256 images would take half a minute each time.
    monkeypatch.setattr(pipeline, "VERIFICATION_IMAGES", 32)

    def execute(command, *arguments):
        given = [f"--checkpoint={checkpoint_file}"] if command == "build" else []
        code = run(parser(), [command, *given, *map(str, arguments)])
        return code, capfd.readouterr().err

    return execute


@pytest.fixture
def gpu(monkeypatch, checkpoint_file, models):
    """This machine, with a TensorRT that behaves as asked, and an H200."""

    def install(behaviour=None, answers=None):
        here = machine.Gpu("NVIDIA H200", "9.0", "13.0")
        monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt.install(behaviour or Behaviour()))
        for module in ("builder.tensorrt.availability", "builder.publishing.loading_places"):
            __import__(module)
            monkeypatch.setattr(sys.modules[module], "find_gpu", lambda: here)
        classifier = checkpoint.load(checkpoint_file).classifier()

        def infer(_, images):
            logits = parity.reference_logits(classifier, images)
            return answers(logits) if answers else logits

        monkeypatch.setattr(onnx_export, "export", lambda classifier, batch_sizes, precision: models[precision])
        monkeypatch.setattr(engine, "Device", lambda: None)
        monkeypatch.setattr(engine.Runner, "__call__", infer)

    return install


PLAN = "model_repository/resnet18_tensorrt"
ONLY_PLAN = "--models=resnet18_tensorrt"


def test_without_tensorrt_onnx_is_published_and_one_line_says_what_is_missing(builder, tmp_path, monkeypatch):
    for name in ("tensorrt", "tensorrt_bindings"):
        monkeypatch.setitem(sys.modules, name, None)
    code, said = builder("build")
    assert code == 0
    (line,) = [line for line in said.splitlines() if line.startswith("not built: resnet18_tensorrt")]
    assert "not built: resnet18_tensorrt: TensorRT cannot be imported" in line
    assert "make build-repo-docker" in line
    assert [path.name for path in (tmp_path / "model_repository").iterdir()] == ["resnet18_onnx"]


@pytest.mark.parametrize("option", ["--require-tensorrt", "--models=resnet18_onnx,resnet18_tensorrt"])
def test_a_plan_that_was_asked_for_and_cannot_be_built_is_an_error(builder, tmp_path, monkeypatch, option):
    for name in ("tensorrt", "tensorrt_bindings"):
        monkeypatch.setitem(sys.modules, name, None)
    code, said = builder("build", option)
    assert code == ExitCode.USER
    assert said.startswith("error: TensorRT cannot be imported")
    assert not (tmp_path / PLAN).exists()


def test_require_tensorrt_without_a_plan_among_the_models_is_a_contradiction(builder):
    assert builder("build", "--require-tensorrt", "--models=resnet18_onnx")[0] == ExitCode.USER


def test_without_a_gpu_the_reason_is_the_gpu(builder, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt.install(Behaviour()))
    monkeypatch.setattr(nvidia, "find_gpus", lambda: nvidia.Gpus(reason="no NVIDIA driver is installed"))
    code, said = builder("build")
    assert code == 0
    assert "not built: resnet18_tensorrt: TensorRT needs an NVIDIA GPU: no NVIDIA driver is installed" in said


def test_with_both_all_is_published_and_the_provenance_says_what_the_plan_is(builder, gpu, tmp_path):
    gpu()
    code, said = builder("build")
    assert code == 0, said
    assert "resnet18_tensorrt: published version 1" in said
    version = tmp_path / PLAN / "1"
    provenance = json.loads((version / "provenance.json").read_text())
    assert (provenance["engine"], provenance["precision"], provenance["file"]) == (
        "tensorrt_plan",
        "fp16",
        "model.plan",
    )
    plan = provenance["plan"]
    assert (plan["tensorrt"], plan["gpu"], plan["compute_capability"]) == ("11.2.1.2", "NVIDIA H200", "9.0")
    assert plan["layers_by_precision"] == {"FP16": 20}
    assert plan["plan_sha256"] == provenance["sha256"]
    assert [batch["batch_size"] for batch in provenance["verification"]["batches"]] == [1, 7, 64]
    assert (tmp_path / ".cache/tensorrt/timing.cache").is_file()


@pytest.mark.parametrize("version", ["11.4.0.106", "10.16.1.11"])
def test_another_version_than_the_server_s_stops_before_the_build(builder, gpu, tmp_path, version):
    gpu(Behaviour(version=version))
    code, said = builder("build")
    assert code == ExitCode.USER
    assert "Triton 26.08 holds TensorRT 11.2.1" in said
    assert f"found TensorRT {version.rpartition('.')[0]} here" in said
    assert "pip install 'tensorrt-cu13==11.2.1.*'" in said
    assert fake_tensorrt.BUILT == []
    assert not (tmp_path / "model_repository").exists()


@pytest.mark.parametrize("option", ["--triton-release=26.04", "--serving-tensorrt=10.16.1"])
def test_the_server_can_be_another(builder, gpu, option):
    gpu(Behaviour(version="10.16.1.11"))
    assert builder("build", ONLY_PLAN, option)[0] == 0


def test_the_release_that_make_serve_is_given_counts(builder, gpu, monkeypatch):
    monkeypatch.setenv("TRITON_RELEASE", "26.04")
    gpu(Behaviour(version="10.16.1.11"))
    assert builder("build", ONLY_PLAN)[0] == 0


def test_a_version_compatible_plan_may_be_older(builder, gpu):
    gpu(Behaviour(version="11.0.0.114"))
    assert builder("build", ONLY_PLAN, "--version-compatible")[0] == 0


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        (Behaviour(convolutions="Float"), "expected FP16, found FP32"),
        (Behaviour(input_dtype="FLOAT"), "expected input 'images' UINT8"),
    ],
)
def test_a_plan_that_is_not_what_was_asked_for_is_a_gate_s_no(builder, gpu, tmp_path, behaviour, said):
    gpu(behaviour)
    code, error = builder("build", ONLY_PLAN)
    assert code == ExitCode.GATE
    assert said in error
    assert not (tmp_path / PLAN).exists()


def test_a_plan_whose_answers_are_wrong_is_a_gate_s_no(builder, gpu, tmp_path):
    gpu(answers=lambda logits: logits[:, ::-1])
    code, said = builder("build", ONLY_PLAN)
    assert code == ExitCode.GATE
    assert "differs from PyTorch" in said
    assert not (tmp_path / PLAN).exists()


def test_a_disk_that_is_full_while_the_plan_is_written_leaves_the_last_good_one(builder, gpu, tmp_path, monkeypatch):
    gpu()
    assert builder("build", ONLY_PLAN)[0] == 0
    before = (tmp_path / PLAN / "1" / "model.plan").read_bytes()
    real = repository.write_atomically

    def full(path, content):
        if path.name == "model.plan":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        real(path, content)

    monkeypatch.setattr(repository, "write_atomically", full)
    code, said = builder("build", ONLY_PLAN)
    assert code == ExitCode.USER
    assert "No space left on device" in said
    assert (tmp_path / PLAN / "1" / "model.plan").read_bytes() == before


@pytest.mark.parametrize("option", ["--optimization-level=6", "--workspace=0"])
def test_options_out_of_range_are_one_line(builder, option):
    code, said = builder("build", ONLY_PLAN, option)
    assert code == ExitCode.USER
    assert f"argument {option.split('=')[0]}: expected a whole number of " in said.splitlines()[-1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--models=resnet18_tensorrt_rtx", "--compute-capability=RTX"], "as in 8.6,8.9,12.0, or all; found 'RTX'"),
        (["--models=resnet18_tensorrt_rtx", "--hardware-compatibility=ampere_plus"], "has no --hardware-compatibility"),
        (["--models=resnet18_tensorrt_rtx", "--version-compatible"], "TensorRT for RTX has no --version-compatible"),
        ([ONLY_PLAN, "--compute-capability=8.6"], "TensorRT has no --compute-capability: it builds for the GPU it"),
        ([ONLY_PLAN, "--compute-capability=all"], "TensorRT has no --compute-capability: it builds for the GPU it"),
    ],
)
def test_an_option_that_a_library_does_not_have_is_one_line(builder, tmp_path, options, said):
    code, error = builder("build", *options)
    assert code == ExitCode.USER
    assert said in error
    assert not list(tmp_path.glob("model_repository*"))


@pytest.mark.parametrize("name", ["resnet18_tensorrt_rtx", "resnet18_tensorrt"])
def test_a_library_that_is_not_installed_says_how_to_get_it(builder, monkeypatch, name):
    for module in ("tensorrt", "tensorrt_bindings", "tensorrt_rtx", "tensorrt_rtx_bindings"):
        monkeypatch.setitem(sys.modules, module, None)
    code, error = builder("build", f"--models={name}")
    assert code == ExitCode.USER
    assert ("make setup-gpu" if name.endswith("rtx") else "make build-repo-docker") in error


def test_inspect_says_what_a_plan_is_and_that_it_loads(builder, gpu):
    gpu()
    builder("build", ONLY_PLAN)
    code, said = builder("inspect", PLAN)
    assert code == 0, said
    for fact in ("fp16", "11.2.1.2", "NVIDIA H200, compute capability 9.0", "1 / 64 / 256", "20 FP16"):
        assert fact in said
    assert "loads on      Triton 26.08 (TensorRT 11.2.1): on an NVIDIA H200" in said
    assert "loads on      this machine: loaded with TensorRT 11.2.1.2" in said


def test_inspect_says_which_triton_cannot_load_it(builder, gpu):
    gpu()
    builder("build", ONLY_PLAN)
    code, said = builder("inspect", PLAN, "--triton-release=26.07")
    assert code == ExitCode.GATE
    assert "NOT on        Triton 26.07 (TensorRT 11.1.0): it was built with TensorRT 11.2.1; build it again" in said


def test_inspect_without_a_gpu_still_knows_the_server(builder, gpu, monkeypatch):
    gpu()
    builder("build", ONLY_PLAN)

    def none():
        raise TensorRTError("no NVIDIA GPU answers")

    monkeypatch.setattr("builder.publishing.loading_places.find_gpu", none)
    code, said = builder("inspect", PLAN)
    assert code == 0
    assert "NOT on        this machine: no NVIDIA GPU answers" in said


@pytest.mark.parametrize(
    ("options", "name", "capability", "here"),
    [
        ([], "NVIDIA L4", "8.9", "it loads on an NVIDIA H200; here is an NVIDIA L4"),
        (["--hardware-compatibility=ampere_plus"], "NVIDIA L4", "8.9", "loaded with TensorRT"),
        (["--hardware-compatibility=ampere_plus"], "Tesla T4", "7.5", "it loads on any GPU since Ampere"),
        (["--hardware-compatibility=same_compute_capability"], "NVIDIA H100", "9.0", "loaded with TensorRT"),
        (
            ["--hardware-compatibility=same_compute_capability"],
            "NVIDIA L4",
            "8.9",
            "it loads on any GPU of compute capability 9.0",
        ),
    ],
)
def test_inspect_knows_on_which_gpus_a_plan_loads(builder, gpu, monkeypatch, options, name, capability, here):
    gpu()
    builder("build", ONLY_PLAN, *options)
    other = machine.Gpu(name, capability, "13.0")
    monkeypatch.setattr("builder.publishing.loading_places.find_gpu", lambda: other)
    assert f"this machine: {here}" in builder("inspect", PLAN)[1]


def test_inspect_of_an_onnx_model(builder, gpu):
    gpu()
    builder("build")
    code, said = builder("inspect", "model_repository/resnet18_onnx/1")
    assert code == 0
    assert "loads on      Triton 26.08 (ONNX Runtime 1.28.0, CPU or GPU): the model has IR 10 and opset 18" in said
    code, said = builder("inspect", "model_repository/resnet18_onnx", "--serving-tensorrt=11.2.1")
    assert code == ExitCode.USER
    assert "does not depend on TensorRT" in said


def test_inspect_of_a_repository_names_every_model_that_will_answer_wrong(builder, gpu, tmp_path):
    gpu()
    builder("build", ONLY_PLAN)
    code, said = builder("inspect", "model_repository")
    assert code == 0, said
    config = tmp_path / PLAN / "config.pbtxt"
    config.write_text(config.read_text().replace("graphs: true", "graphs: true output_copy_stream: true"))
    foreign = tmp_path / "model_repository" / "theirs"  # somebody's own: it has no provenance
    (foreign / "1").mkdir(parents=True)
    (foreign / "config.pbtxt").write_text(
        'backend: "tensorrt" optimization { cuda { graphs: true output_copy_stream: true } }'
    )
    code, said = builder("inspect", "model_repository")
    assert code == ExitCode.GATE
    assert said.count("its answers are WRONG in NVIDIA's container") == 2
    assert "theirs: not built by this project" in said
    for one in (PLAN, f"{PLAN}/1", "model_repository/theirs"):
        code, said = builder("inspect", one)
        assert code == ExitCode.GATE
        assert "Remove output_copy_stream" in said


@pytest.mark.parametrize(("cuda", "warned"), [("12.8", True), ("13.0", False)])
def test_a_driver_too_old_for_the_server_is_told(builder, gpu, monkeypatch, cuda, warned):
    gpu()
    monkeypatch.setattr(availability, "find_gpu", lambda: machine.Gpu("NVIDIA H200", "9.0", cuda))
    said = builder("build", ONLY_PLAN)[1]
    assert ("needs a driver of series R580 or newer; this machine's runs CUDA 12.8" in said) is warned


def test_inspect_refuses_what_is_no_model_and_what_was_changed(builder, gpu, tmp_path):
    assert "holds no published model" in builder("inspect", tmp_path)[1]
    gpu()
    builder("build")
    (tmp_path / PLAN / "1" / "model.plan").write_bytes(b"another")
    code, said = builder("inspect", PLAN)
    assert code == ExitCode.USER
    assert "is not the file that was published" in said
    (tmp_path / PLAN / "1" / "provenance.json").write_text('{"engine": "tensorrt_plan"}')
    assert "lacks built, file, model, plan" in builder("inspect", PLAN)[1]
