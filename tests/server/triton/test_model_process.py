"""Taking Triton's line apart; the lines are those of python_backend r24.10, src/stub_launcher.cc."""

from __future__ import annotations

import os

import pytest

from server.triton.model_process import parse, plain_path
from tests.support.hostile import NAMES

WORK = "/tmp/embedded_triton_12_a_b1"
STUB = f"{WORK}/backends/python/triton_python_backend_stub"
NUMBERS = f"embedded_triton_12_295de6f7-6bdd-4e50 1048576 1048576 77 {WORK}/backends/python 336"
PARENT = 77


def line(model: str = f"{WORK}/models/m/1/model.onnx", name: str = "m_0", stub: str = STUB) -> str:
    return f" exec {stub} {model} {NUMBERS} {name} {WORK}/backends/onnxruntime"


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_every_name_comes_out_as_it_went_in(name):
    model = f"{WORK}/models/{name}/1/{name}.onnx"
    start = parse(line(model, f"{name}_0_0"), WORK, PARENT)
    assert start.arguments == [STUB, model, *NUMBERS.split(" "), f"{name}_0_0", f"{WORK}/backends/onnxruntime"]
    assert start.environment is None


def test_a_python_environment_comes_out_apart():
    activate, libraries = "/my $(envs)/it's/bin/activate", "/my $(envs)/it's/lib"
    inside = line().removeprefix(" exec")
    start = parse(f"source {activate} && exec env LD_LIBRARY_PATH={libraries}:$LD_LIBRARY_PATH{inside}", WORK, PARENT)
    assert start.environment == (activate, libraries)
    assert start.arguments[0] == STUB


@pytest.mark.parametrize("repository", ["models", "models_2", "models_12"])
def test_a_model_may_bring_its_own_program_in_any_repository(repository):
    stub = f"{WORK}/{repository}/m/triton_python_backend_stub"
    assert parse(line(stub=stub), WORK, PARENT).arguments[0] == stub


@pytest.mark.parametrize(
    "other",
    [
        "",
        "canary",
        f" exec {STUB}",
        line().replace(" exec", " exec canary;"),
        line(stub="/bin/canary"),
        line(stub=f"{WORK}/models/a/b/triton_python_backend_stub"),
        line(stub=f"{WORK}/models/m/triton_python_backend_stub; canary"),
        line(stub=f"{WORK}x/backends/python/triton_python_backend_stub"),
        line().replace(" 77 ", " 78 "),
        line() + "; canary",
        line() + "\ncanary",
    ],
)
def test_another_line_is_refused(other):
    assert parse(other, WORK, PARENT) is None


def test_a_path_that_is_not_plain_is_reached_through_a_link(tmp_path):
    (tmp_path / "processes").mkdir()
    file = tmp_path / "models/größe & $(canary)/1/model.py"
    file.parent.mkdir(parents=True)
    file.write_text("here")
    path = plain_path(str(file), str(tmp_path))
    assert path == f"{tmp_path}/processes/{os.getpid()}.model/1/model.py"
    with open(path) as found:  # noqa: PTH123  as text, as Triton's process gets it
        assert found.read() == "here"
    assert plain_path("/models/plain/1/model.py", str(tmp_path)) == "/models/plain/1/model.py"
