"""Nothing that a path or a name holds reaches a shell; the real tritonserver, and a canary that sings when executed."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as grpcclient

from tests.support import models
from tests.support.hostile import NAMES, Sandbox
from tests.support.triton import ROOT, SERVER_PYTHON, Served, run_server, start_server

pytestmark = [pytest.mark.triton, pytest.mark.slow]

CPU = "instance_group { count: 1 kind: KIND_CPU }\n"
DOUBLER = (
    models.PLATFORM
    + "max_batch_size: 16\n"
    + models.tensor("input", "x", "TYPE_FP32", [-1])
    + models.tensor("output", "y", "TYPE_FP32", [-1])
)
REFUSED = {"every", "newline", "carriage_return", "tab", "escape", "right_to_left", "zero_width", "not_utf8"}
"""As a model's name: what the protocol cannot carry, and what no message could show."""


def doubles(served: Served, name: str) -> bool:
    """Whether a model answers; by gRPC, since Triton's HTTP takes a name as it stands in the URL."""
    question = np.random.default_rng().normal(size=(2, 3)).astype(np.float32)
    x = grpcclient.InferInput("x", question.shape, "FP32")
    x.set_data_from_numpy(question)
    with grpcclient.InferenceServerClient(served.grpc) as client:
        return np.array_equal(client.infer(name, [x], client_timeout=30).as_numpy("y"), 2 * question)


@pytest.fixture
def sandbox(tmp_path):
    sandbox = Sandbox(tmp_path)
    yield sandbox
    assert sandbox.traces() == []


def serve_from(name: str, directory: Path) -> tuple[bool, list[str], float]:
    """Serve a repository of this name, with temporary files in a directory of this name."""
    sandbox = Sandbox(directory)
    repository, temporary = directory / name, directory / "temporary" / name
    models.add_doubler(repository, config=DOUBLER + CPU)
    temporary.mkdir(parents=True)
    started = time.monotonic()
    with start_server(repository, cwd=sandbox.cwd, env={**sandbox.environment, "TMPDIR": str(temporary)}) as served:
        seconds = time.monotonic() - started
        right = doubles(served, "doubler")
    return right, sandbox.traces() + [path.name for path in temporary.iterdir()], seconds


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    with ThreadPoolExecutor(3) as pool:
        return {key: pool.submit(serve_from, name, tmp_path_factory.mktemp(key)) for key, name in NAMES.items()}


@pytest.mark.parametrize("key", NAMES)
def test_a_repository_and_temporary_files_may_lie_anywhere(key, places):
    right, traces, _ = places[key].result()
    assert right
    assert traces == []


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    """One server, and a model of every name."""
    sandbox = Sandbox(tmp_path_factory.mktemp("named"))
    repository = tmp_path_factory.mktemp("repository")
    for name in NAMES.values():
        models.add_doubler(repository, name, config=DOUBLER + CPU)
    with start_server(repository, cwd=sandbox.cwd, env=sandbox.environment) as served:
        yield served, sandbox


@pytest.mark.parametrize("key", NAMES)
def test_a_model_of_any_name_is_served_or_refused_in_one_line(key, named):
    served, sandbox = named
    name = NAMES[key]
    if key in REFUSED:
        assert served.left_out[name].startswith("its name ")
        assert served.left_out[name].isprintable()
    else:
        assert doubles(served, name)
    assert sandbox.traces() == []


def test_a_refused_name_ends_the_launcher_with_one_line(tmp_path, sandbox):
    repository = tmp_path / "repository"
    models.add_doubler(repository, NAMES["newline"], config=DOUBLER)
    result = run_server(f"--repository={repository}", cwd=sandbox.cwd, env=sandbox.environment)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 2, "an error and a hint"
    assert "its name holds '\\n'" in result.stderr


SHELL = "`canary` $(canary); canary & 'canary' \"canary"


def test_what_a_configuration_names_reaches_no_shell(tmp_path, sandbox):
    """The instance's name and the model's file are in Triton's line too; over the network, anybody may set them."""
    repository = tmp_path / "repository"
    name, quoted = json.dumps(SHELL), json.dumps(f"{SHELL}.onnx")
    config = f"{DOUBLER}default_model_filename: {quoted}\n{CPU.replace('count', f'name: {name} count')}"
    path = models.add_doubler(repository, config=config)
    path.rename(path.with_name(f"{SHELL}.onnx"))
    with start_server(repository, cwd=sandbox.cwd, env=sandbox.environment) as served:
        assert doubles(served, "doubler")
        with grpcclient.InferenceServerClient(served.grpc) as client:
            changed = client.get_model_config("doubler", as_json=True)["config"]
            changed["instance_group"][0]["name"] = "$(canary >&2)"
            client.load_model("doubler", config=json.dumps(changed))
        assert doubles(served, "doubler")


PYTHON = 'backend: "python"\n' + DOUBLER.replace(models.PLATFORM, "") + CPU
DOUBLE = """
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        arrays = [pb_utils.get_input_tensor_by_name(request, "x").as_numpy() for request in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("y", 2 * array)]) for array in arrays]
"""


def add_python(repository: Path, name: str, *, code: str = DOUBLE, config: str = "") -> Path:
    path = models.add_model(repository, name, PYTHON + config).with_name("model.py")
    path.write_text(code)
    return path


@pytest.mark.parametrize("name", [SHELL, "größe 模型"])
def test_a_python_model_and_its_environment_reach_no_shell(name, tmp_path, sandbox):
    """`EXECUTION_ENV_PATH` names a script that bash is to read."""
    repository = tmp_path / "repository"
    where = json.dumps(f"$$TRITON_MODEL_DIRECTORY/{name}", ensure_ascii=False)
    environment = f'parameters {{ key: "EXECUTION_ENV_PATH" value {{ string_value: {where} }} }}\n'
    add_python(repository, name, config=environment)
    activate = repository / name / name / "bin/activate"
    activate.parent.mkdir(parents=True)
    activate.write_text(f"touch '{tmp_path}/activated'\n")
    with start_server(repository, cwd=sandbox.cwd, env=sandbox.environment) as served:
        assert doubles(served, name)
    assert (tmp_path / "activated").exists()


def test_a_model_with_a_process_of_its_own_is_refused_where_its_name_would_reach_a_shell(tmp_path, sandbox):
    repository = tmp_path / "repository"
    models.add_doubler(repository, config=DOUBLER)
    add_python(repository, "$(canary)")
    (repository / "$(canary)" / "triton_python_backend_stub").write_bytes(b"")
    result = run_server(f"--repository={repository}", cwd=sandbox.cwd, env=sandbox.environment)
    assert result.returncode == 1
    assert "which Triton starts through a shell, and its name holds '$'" in result.stderr
    assert len(result.stderr.splitlines()) == 2, "an error and a hint"


def test_the_project_and_its_environments_may_lie_anywhere(tmp_path, sandbox):
    place = tmp_path / "my projects; `canary` $(canary) & it's größe"
    place.mkdir()
    (place / "clone").symlink_to(ROOT)
    (place / ".venv-server").symlink_to(SERVER_PYTHON.parents[1])
    (place / "home").mkdir()
    models.add_doubler(place / "models", config=DOUBLER + CPU)
    environment = {**sandbox.environment, "PYTHONPATH": str(place / "clone"), "HOME": str(place / "home")}
    python = place / ".venv-server/bin/python"
    with start_server(place / "models", python=python, cwd=sandbox.cwd, env=environment) as served:
        assert doubles(served, "doubler")


def test_a_temporary_directory_that_cannot_be_written_or_run_from_is_not_used(tmp_path, sandbox):
    repository = tmp_path / "repository"
    models.add_doubler(repository, config=DOUBLER + CPU)
    long = tmp_path / ("long" * 50)
    long.mkdir()
    with start_server(repository, cwd=sandbox.cwd, env={**sandbox.environment, "TMPDIR": str(long)}) as served:
        assert doubles(served, "doubler")
        assert not any(long.iterdir())
