"""`python -m builder build` and `inspect` of TensorRT for RTX, with the real library and without a GPU."""

from __future__ import annotations

import json

import pytest

from console import nvidia
from console.tensorrt_rtx import NEWEST
from tests.support.tensorrt_rtx import VERSIONS, run_python

NAME = "resnet18_tensorrt_rtx"
OLDER = VERSIONS[1]


@pytest.fixture(scope="module", autouse=True)
def no_gpu():
    if nvidia.find_gpus().gpus:
        pytest.skip("this machine has a GPU: test_gpu.py builds and verifies there")


@pytest.fixture(scope="module")
def built(checkpoint_file, tmp_path_factory):
    """A directory in which it was built, and what the command said."""
    directory = tmp_path_factory.mktemp("built")
    options = [f"--checkpoint={checkpoint_file}", f"--models={NAME}"]
    done = run_python(NEWEST, "-m", "builder", "build", *options, "--compute-capability=8.6,12.0", cwd=directory)
    assert done.returncode == 0, done.stderr
    return directory, done.stderr


def test_what_the_container_cannot_load_lies_in_a_repository_of_its_own(built):
    directory, said = built
    assert not (directory / "model_repository").exists()
    assert [path.name for path in (directory / "model_repository_rtx").iterdir()] == [NAME]
    assert f"-m server --repository {directory / 'model_repository_rtx'}" in said


def test_the_line_and_the_record_say_that_it_is_not_verified_and_what_it_is_for(built):
    directory, said = built
    assert f"{NAME}: published version 1 (NOT verified: there is no GPU here; the server checks it" in said
    assert "make serve" not in said, "NVIDIA's container is no place for it"
    version = directory / "model_repository_rtx" / NAME / "1"
    provenance = json.loads((version / "provenance.json").read_text())
    assert (provenance["engine"], provenance["precision"], provenance["file"]) == ("tensorrt_rtx", "fp16", "model.plan")
    assert provenance["verification"] == {"not_verified": "there is no GPU here"}
    plan = provenance["plan"]
    assert (plan["library"], plan["tensorrt"], plan["proven"]) == ("TensorRT for RTX", NEWEST, False)
    assert plan["compute_capabilities"] == ["8.6", "12.0"]
    assert plan["plan_sha256"] == provenance["sha256"]
    assert (version / "reference.npz").is_file(), "what the server checks it against"


def test_inspect_says_which_version_built_it_for_which_gpus_and_what_this_machine_says(built):
    directory, _ = built
    done = run_python(NEWEST, "-m", "builder", "inspect", "model_repository_rtx", cwd=directory)
    assert done.returncode == 2, done.stderr
    for fact in (
        f"built with    TensorRT for RTX {NEWEST}",
        "for           GPUs of compute capability 8.6, 12.0",
        "NOT verified  there is no GPU here",
        "NOT on        this machine: TensorRT needs an NVIDIA GPU: ",
        "NOT on        NVIDIA's container: it has no backend for TensorRT for RTX",
    ):
        assert fact in done.stderr


def test_inspect_with_another_version_names_both(built):
    directory, _ = built
    done = run_python(OLDER, "-m", "builder", "inspect", f"model_repository_rtx/{NAME}", cwd=directory)
    assert done.returncode == 2
    assert f"this machine: it was built with TensorRT for RTX {NEWEST}; here is TensorRT for RTX {OLDER}" in done.stderr


def test_int8_is_refused_by_a_version_that_cannot_build_it(checkpoint_file, tmp_path):
    options = [f"--checkpoint={checkpoint_file}", f"--models={NAME}_int8", "--compute-capability=8.6"]
    done = run_python(OLDER, "-m", "builder", "build", *options, cwd=tmp_path)
    assert done.returncode == 1
    assert f"{NAME}_int8: TensorRT for RTX 1.6.1 builds no convolutions in INT8; expected 1.7" in done.stderr
    assert f"or build {NAME} or {NAME}_fp8" in done.stderr
    assert not list(tmp_path.iterdir())
