"""Models' processes that die: at their start, and while they serve; with the real tritonserver."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
import tritonclient.grpc as grpcclient
from tritonclient.utils import InferenceServerException

from tests.support import models
from tests.support.triton import Served, left_behind, run_server, start_server, wait_for

pytestmark = pytest.mark.triton

CPU = "instance_group { count: 1 kind: KIND_CPU }\n"
X, Y = models.tensor("input", "x", "TYPE_FP32", [-1]), models.tensor("output", "y", "TYPE_FP32", [-1])
PYTHON = 'backend: "python"\nmax_batch_size: 16\n' + X + Y + CPU
ONNX = models.PLATFORM + "max_batch_size: 16\n" + X + Y

DYING = {
    "exits_on_import": (
        "import os, sys\nprint('no licence', file=sys.stderr, flush=True)\nos._exit(3)\n",
        "ended with exit code 3 at its start: no licence",
    ),
    "is_killed_on_import": ("import os\nos.kill(os.getpid(), 9)\n", "was killed by SIGKILL at its start"),
    "crashes_in_initialize": (
        "import ctypes, os\n"
        "class TritonPythonModel:\n"
        "    def initialize(self, args):\n"
        "        os.write(1, b'about to crash\\n')\n"
        "        ctypes.string_at(0)\n",
        "was killed by SIGSEGV at its start: about to crash",
    ),
    "says_what_is_no_text": (
        "import os\nos.write(2, b'\\xff\\x1b[31m \\xc3\\xa4\\n')\nos.abort()\n",
        "was killed by SIGABRT at its start: \\xff\\x1b[31m ä",
    ),
}


def add_python(repository: Path, name: str, code: str) -> None:
    models.add_model(repository, name, PYTHON).with_name("model.py").write_text(code)


def add_unstartable(repository: Path, name: str) -> None:
    """It ends before it can tell Triton anything, and Triton waits for it without an end."""
    environment = 'parameters { key: "EXECUTION_ENV_PATH" value { string_value: "$$TRITON_MODEL_DIRECTORY/env" } }\n'
    models.add_model(repository, name, PYTHON + environment).with_name("model.py").write_text("")
    activate = repository / name / "env/bin/activate"
    activate.parent.mkdir(parents=True)
    activate.write_text("echo wrong environment >&2\nexit 9\n")


UNSTARTABLE = "the process of model 'dying' ended with exit code 9 at its start: wrong environment"


def test_processes_that_die_at_their_start_are_named_with_what_they_said(tmp_path):
    for name, (code, _) in DYING.items():
        add_python(tmp_path, name, code)
    result = run_server(f"--repository={tmp_path}", "--timeout=60")
    assert result.returncode == 1
    for name, (_, said) in DYING.items():
        assert f"the process of model '{name}' {said}" in result.stderr
    assert len(result.stderr.splitlines()) <= 2


def test_a_model_whose_process_cannot_start_is_left_out_and_the_others_are_served(tmp_path):
    models.add_doubler(tmp_path)
    add_unstartable(tmp_path, "dying")
    with start_server(tmp_path) as served:
        assert served.left_out == {"dying": UNSTARTABLE}
        assert served.models == ["doubler"]
        assert ask(served, "doubler")
    result = run_server(f"--repository={tmp_path}", "--load=dying", "--timeout=60")
    assert result.returncode == 1
    assert UNSTARTABLE in result.stderr
    assert len(result.stderr.splitlines()) <= 2


def test_a_model_of_the_second_repository_is_looked_after_as_one_of_the_first(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    models.add_doubler(first)
    add_python(second, "other", DOUBLE)
    add_unstartable(second, "dying")
    with start_server(first, f"--repository={second}") as served:
        assert served.left_out == {"dying": UNSTARTABLE}
        assert ask(served, "other")
        kill(signal.SIGKILL)(served, "other")
        wait_for(lambda: answers(served, "other"), 60)
        assert ask(served, "doubler")


def ask(served: Served, model: str, value: float = 1) -> bool:
    question = np.full((1, 3), value, np.float32)
    given = grpcclient.InferInput("x", question.shape, "FP32")
    given.set_data_from_numpy(question)
    with grpcclient.InferenceServerClient(served.grpc) as client:
        return np.array_equal(client.infer(model, [given], client_timeout=60).as_numpy("y"), 2 * question)


def answers(served: Served, model: str) -> bool:
    try:
        return ask(served, model)
    except InferenceServerException:
        return False


def processes(served: Served, model: str) -> list[psutil.Process]:
    """A model's living processes, by their arguments."""
    children = psutil.Process(served.server_pid).children()
    alive = [child for child in children if child.status() != psutil.STATUS_ZOMBIE]
    return [child for child in alive if re.search(rf"/models(_2)?/{model}/", " ".join(child.cmdline()))]


DOUBLE = """
import ctypes, os, sys, time
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        answers = []
        for request in requests:
            array = pb_utils.get_input_tensor_by_name(request, "x").as_numpy()
            print("got", array.flat[0], flush=True)
            if array.flat[0] == -1:
                os._exit(5)
            if array.flat[0] == -2:
                ctypes.string_at(0)
            if array.flat[0] == -3:
                time.sleep(60)
            answers.append(pb_utils.InferenceResponse([pb_utils.Tensor("y", 2 * array)]))
        return answers
"""


def ensemble(model: str) -> str:
    maps = 'input_map { key: "x" value: "x" } output_map { key: "y" value: "y" }'
    step = f'step {{ model_name: "{model}" model_version: -1 {maps} }}'
    return f'platform: "ensemble"\nmax_batch_size: 16\n{X}{Y}ensemble_scheduling {{ {step} }}\n'


def kill(number: int, *, all_of_them: bool = False):
    def do(served: Served, model: str) -> None:
        for process in processes(served, model)[: None if all_of_them else 1]:
            process.send_signal(number)

    return do


def kill_in_flight(served: Served, model: str) -> None:
    """Whoever waits for an answer gets an error, and does not wait for ever."""
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(answers, served, model) if model == "doubler" else pool.submit(ask, served, model, -3)
        wait_for(lambda: processes(served, model), 10)
        time.sleep(1)
        kill(signal.SIGKILL)(served, model)
        with pytest.raises(InferenceServerException, match="not healthy"):
            waiting.result(60)


def poison(value: float):
    def do(served: Served, model: str) -> None:
        with pytest.raises(InferenceServerException):
            ask(served, model, value)

    return do


def kill_step(served: Served, model: str) -> None:
    kill(signal.SIGKILL)(served, "step")


SERVING = {
    "onnx_killed": (ONNX + CPU, kill(signal.SIGKILL), "was killed by SIGKILL"),
    "onnx_terminated_by_a_fault": (ONNX + CPU, kill(signal.SIGSEGV), "was killed by SIGSEGV"),
    "onnx_aborted": (ONNX + CPU, kill(signal.SIGABRT), "was killed by SIGABRT"),
    "onnx_bus_error": (ONNX + CPU, kill(signal.SIGBUS), "was killed by SIGBUS"),
    "onnx_one_of_two": (ONNX + CPU.replace("1", "2"), kill(signal.SIGKILL), "was killed by SIGKILL"),
    "onnx_both": (ONNX + CPU.replace("1", "2"), kill(signal.SIGKILL, all_of_them=True), "was killed by SIGKILL"),
    "python_killed": (PYTHON, kill(signal.SIGKILL), "was killed by SIGKILL"),
    "python_exits": (PYTHON, poison(-1), "ended with exit code 5 while serving: .*got -1.0"),
    "python_crashes": (PYTHON, poison(-2), "was killed by SIGSEGV while serving: .*got -2.0"),
    "python_in_flight": (PYTHON, kill_in_flight, "was killed by SIGKILL while serving: .*got -3.0"),
    "ensemble": (ensemble("step"), kill_step, "the process of model 'step' was killed by SIGKILL"),
}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    repository = tmp_path_factory.mktemp("repository")
    models.add_doubler(repository, "step", config=ONNX + CPU)
    models.add_doubler(repository, "bystander", config=ONNX + CPU)
    for name, (config, _, _) in SERVING.items():
        if config.startswith(models.PLATFORM):
            models.add_doubler(repository, name, config=config)
        else:
            models.add_model(repository, name, config).with_name("model.py").write_text(DOUBLE)
    path = tmp_path_factory.mktemp("said") / "said"
    with path.open("a+") as said, start_server(repository, stderr=said) as server:
        server.said = said
        yield server


def words(served: Served) -> str:
    """What the launcher has said so far."""
    served.said.seek(0)
    return served.said.read()


@pytest.mark.parametrize("model", SERVING)
def test_a_model_whose_process_dies_is_loaded_anew_and_answers(model, served):
    _, cause, said = SERVING[model]
    assert ask(served, model)
    cause(served, model)
    assert ask(served, "bystander"), "another model is not concerned"
    dead = "step" if model == "ensemble" else model
    wait_for(lambda: f"model '{dead}' is ready again" in words(served), 60)
    for value in range(5):
        assert ask(served, model, value)
    warnings = [line for line in words(served).splitlines() if line.startswith("warning: the process")]
    assert re.search(said, warnings[-1])
    assert "loading the model anew from the repository, once" in warnings[-1]


def test_at_the_second_death_the_server_ends(tmp_path):
    models.add_doubler(tmp_path)
    with start_server(tmp_path) as served:
        kill(signal.SIGKILL)(served, "doubler")
        wait_for(lambda: not processes(served, "doubler") or answers(served, "doubler"), 60)
        wait_for(lambda: answers(served, "doubler"), 60)
        kill(signal.SIGSEGV, all_of_them=True)(served, "doubler")
        assert served.launcher.wait(60) == 1
        said = served.launcher.stderr.read()
        assert "error: the process of model 'doubler' was killed by SIGSEGV while serving, for the second time" in said
        wait_for(lambda: not left_behind(served.launcher.pid), 10)


def test_the_death_of_a_process_that_was_replaced_is_no_second_one(tmp_path):
    models.add_doubler(tmp_path)  # of two instances
    with (tmp_path / "said").open("a+") as said, start_server(tmp_path, stderr=said) as served:
        served.said = said
        killed, replaced = processes(served, "doubler")
        killed.send_signal(signal.SIGKILL)
        wait_for(lambda: "model 'doubler' is ready again" in words(served), 60)
        replaced.send_signal(signal.SIGSEGV)
        time.sleep(2)
        assert words(served).count("loading the model anew") == 1
        assert ask(served, "doubler")


def test_two_models_that_die_at_once_are_both_loaded_anew(tmp_path):
    for name in ("one", "two"):
        models.add_doubler(tmp_path, name, config=ONNX + CPU)
    with (tmp_path / "said").open("a+") as said, start_server(tmp_path, stderr=said) as served:
        served.said = said
        for name in ("one", "two"):
            kill(signal.SIGKILL)(served, name)
        for name in ("one", "two"):
            wait_for(lambda name=name: f"model '{name}' is ready again" in words(served), 60)
            assert ask(served, name)


def test_a_model_that_dies_again_while_it_is_loaded_anew_ends_the_server(tmp_path):
    marker = f"open({str(tmp_path / 'marker')!r}, 'x')"
    code = f"import os\ntry:\n    {marker}\nexcept FileExistsError:\n    os._exit(7)\n"
    add_python(tmp_path, "once", code + DOUBLE)
    with start_server(tmp_path) as served:
        kill(signal.SIGKILL)(served, "once")
        assert served.launcher.wait(60) == 1
        said = served.launcher.stderr.read()
        assert (
            "error: model 'once' could not be loaded anew: the process of model 'once' ended with exit code 7" in said
        )


def test_a_model_that_cannot_be_loaded_anew_ends_the_server(tmp_path):
    path = models.add_doubler(tmp_path)
    with start_server(tmp_path) as served:
        path.write_bytes(b"no model")
        kill(signal.SIGKILL)(served, "doubler")
        assert served.launcher.wait(60) == 1
        assert "error: model 'doubler' could not be loaded anew: " in served.launcher.stderr.read()


def test_a_command_beside_a_server_that_ends_is_ended(tmp_path):
    add_python(tmp_path, "doubler", DOUBLE)
    script = (
        "import os, time, numpy, tritonclient.grpc as g\n"
        "client = g.InferenceServerClient(os.environ['TRITON_URL'])\n"
        "while True:\n"
        "    given = g.InferInput('x', [1, 1], 'FP32')\n"
        "    given.set_data_from_numpy(numpy.full((1, 1), -1, numpy.float32))\n"
        "    try: client.infer('doubler', [given])\n"
        "    except Exception: time.sleep(0.1)\n"
    )
    result = run_server(f"--repository={tmp_path}", "--", sys.executable, "-c", script)
    assert result.returncode == 1
    assert "ended with exit code 5 while serving" in result.stderr


def test_a_process_that_dies_when_a_client_has_its_model_loaded(tmp_path):
    """Where Triton notices, the client is told, and nothing else happens; where it waits for ever, the server ends."""
    models.add_doubler(tmp_path)
    add_python(tmp_path, "crashing", DYING["crashes_in_initialize"][0])
    add_unstartable(tmp_path, "dying")
    with start_server(tmp_path, "--load=doubler") as served:
        with grpcclient.InferenceServerClient(served.grpc) as client:
            with pytest.raises(InferenceServerException, match="is not healthy"):
                client.load_model("crashing", client_timeout=60)
            assert ask(served, "doubler")
            with pytest.raises(InferenceServerException):
                client.load_model("dying", client_timeout=60)
        assert served.launcher.wait(60) == 1
        said = served.launcher.stderr.read()
        assert "the process of model 'dying' ended with exit code 9" in said
        assert "crashing" not in said


def test_a_model_whose_files_came_over_the_network_is_known_by_its_name(tmp_path):
    path = models.add_doubler(tmp_path / "elsewhere", "sent", config=ONNX + CPU)
    models.add_doubler(tmp_path / "repository")
    config = {
        "platform": "onnxruntime_onnx",
        "max_batch_size": 16,
        "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": ["-1"]}],
        "output": [{"name": "y", "data_type": "TYPE_FP32", "dims": ["-1"]}],
    }
    with start_server(tmp_path / "repository") as served:
        with grpcclient.InferenceServerClient(served.grpc) as client:
            client.load_model("sent", config=json.dumps(config), files={"file:1/model.onnx": path.read_bytes()})
        assert ask(served, "sent")
        for child in psutil.Process(served.server_pid).children():
            if "/tmp/folder" in " ".join(child.cmdline()):
                child.kill()
        assert served.launcher.wait(60) == 1
        said = served.launcher.stderr.read()
        assert "warning: the process of model 'sent' was killed by SIGKILL while serving" in said
        assert "error: model 'sent' could not be loaded anew: " in said


def test_unloading_is_no_death(tmp_path):
    models.add_doubler(tmp_path)
    with start_server(tmp_path) as served, grpcclient.InferenceServerClient(served.grpc) as client:
        for _ in range(2):
            client.unload_model("doubler")
            wait_for(lambda: not processes(served, "doubler"), 30)
            client.load_model("doubler")
            assert ask(served, "doubler")
        served.launcher.terminate()
        assert served.launcher.wait(60) == 0
        assert "the process of" not in served.launcher.stderr.read()


def test_what_was_logged_long_ago_is_no_cause_of_death(tmp_path):
    models.add_doubler(tmp_path)
    models.add_doubler(tmp_path, "gpu", config=ONNX + "instance_group { kind: KIND_GPU }\n")
    with start_server(tmp_path, "--load=doubler") as served:
        with (
            grpcclient.InferenceServerClient(served.grpc) as client,
            pytest.raises(InferenceServerException, match="no GPUs are available"),
        ):
            client.load_model("gpu")
        time.sleep(6)
        os.kill(served.server_pid, signal.SIGKILL)
        assert served.launcher.wait(60) == 1
        assert served.launcher.stderr.read().splitlines()[-2] == "error: Triton was killed by SIGKILL while serving"


LOADING_SLOWLY = DOUBLE.replace(
    "class TritonPythonModel:\n",
    "class TritonPythonModel:\n"
    "    def initialize(self, args):\n"
    "        if os.path.exists({marker!r}):\n"
    "            time.sleep(20)\n\n",
)


def reload_beside(served: Served, model: str):
    """Have a model loaded on a thread of its own; its future tells why it was not."""

    def load() -> str:
        with grpcclient.InferenceServerClient(served.grpc) as client:
            try:
                client.load_model(model, client_timeout=90)
            except InferenceServerException as error:
                return error.message()
        return ""

    pool = ThreadPoolExecutor(1)
    future = pool.submit(load)
    pool.shutdown(wait=False)
    return future


@pytest.mark.parametrize("same_version", [False, True])
def test_a_process_killed_in_the_middle_of_a_reload_leaves_the_old_version(tmp_path, same_version):
    marker = tmp_path / "marker"
    repository = tmp_path / "repository"
    repository.mkdir()
    add_python(repository, "doubler", LOADING_SLOWLY.replace("{marker!r}", repr(str(marker))))
    with (tmp_path / "said").open("a+") as said, start_server(repository, stderr=said) as served:
        served.said = said
        (old,) = processes(served, "doubler")
        marker.touch()
        if same_version:
            config = repository / "doubler/config.pbtxt"
            config.write_text(config.read_text().replace("max_batch_size: 16", "max_batch_size: 8"))
        else:
            shutil.copytree(repository / "doubler/1", repository / "doubler/2")
        loading = reload_beside(served, "doubler")
        wait_for(lambda: len(processes(served, "doubler")) == 2, 30)
        time.sleep(2)  # it has told Triton that it is there, and is in `initialize`
        (new,) = [process for process in processes(served, "doubler") if process.pid != old.pid]
        new.kill()
        assert loading.result(timeout=60)
        for value in range(20):
            assert ask(served, "doubler", value)
            time.sleep(0.1)
        assert old.is_running()
        assert "warning" not in words(served)
        marker.unlink()
        assert reload_beside(served, "doubler").result(timeout=60) == ""
        wait_for(lambda: not old.is_running(), 30)
        time.sleep(2)  # the launcher looks several times meanwhile
        assert ask(served, "doubler")
        assert "warning" not in words(served), "what a reload ends is no death"
        kill(signal.SIGKILL)(served, "doubler")
        wait_for(lambda: "model 'doubler' is ready again" in words(served), 60)
        assert ask(served, "doubler")


@pytest.mark.parametrize("bad", ["model", "configuration", "nonsense"])
def test_a_death_after_a_bad_publish_brings_back_what_served(tmp_path, bad):
    models.add_doubler(tmp_path / "repository", config=ONNX + CPU)
    directory = tmp_path / "repository/doubler"
    with (tmp_path / "said").open("a+") as said, start_server(tmp_path / "repository", stderr=said) as served:
        served.said = said
        shutil.copytree(directory / "1", directory / "2")
        if bad == "model":
            (directory / "2/model.onnx").write_bytes(b"no model")
        else:
            wrong = "nonsense {" if bad == "nonsense" else (ONNX + CPU).replace('"y"', '"z"')
            (directory / "config.pbtxt").write_text(wrong)
        kill(signal.SIGKILL)(served, "doubler")
        wait_for(lambda: "model 'doubler' is ready again: version 1" in words(served), 60)
        assert ask(served, "doubler")
        assert "warning: model 'doubler' cannot be loaded as it was published (" in words(served)
        assert "); loading version 1, which served until now" in words(served)
        assert reload_beside(served, "doubler").result(timeout=60) == "" or ask(served, "doubler")
        shutil.copytree(directory / "1", directory / "3")
        (directory / "config.pbtxt").write_text(ONNX + CPU)
        assert reload_beside(served, "doubler").result(timeout=60) == ""
        with grpcclient.InferenceServerClient(served.grpc) as client:
            assert client.get_model_metadata("doubler").versions == ["3"]
        assert ask(served, "doubler")
