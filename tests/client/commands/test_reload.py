"""`python -m client reload`: what was published is served without a gap, or it is said why not and what serves on."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from client.connection import Control, Endpoint, versions
from client.errors import ClientError
from tests.client.connection.test_other_servers import is_one_line, listening
from tests.client.fake_triton import Behaviour, fake_triton
from tests.support import models
from tests.support.triton import FREE_PORTS, ROOT, SERVER_PYTHON, start_server, wait_for

SLOW = """
import os, time
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        if args["model_version"] != "1":
            time.sleep({seconds})

    def execute(self, requests):
        return [pb_utils.InferenceResponse([]) for _ in requests]
"""


def add_slow(repository: Path, name: str, seconds: float) -> None:
    """A model whose second version takes its time to load."""
    models.add_sleeper(repository, name)
    (repository / name / "2").mkdir()
    (repository / name / "2/model.py").write_text(SLOW.replace("{seconds}", str(seconds)))
    (repository / name / "2").rename(repository / f".{name}.2")


def publish_slow(repository: Path, name: str) -> None:
    (repository / f".{name}.2").rename(repository / name / "2")


def new_version(repository: Path, name: str, version: int) -> Path:
    shutil.copytree(repository / name / "1", repository / name / str(version))
    return repository / name / str(version) / "model.onnx"


@pytest.fixture
def repository(tmp_path):
    path = tmp_path / "repository"
    models.add_classifier(path, "one")
    models.add_classifier(path, "other")
    return path


@pytest.mark.triton
@pytest.mark.parametrize("transport", ["grpc", "http"])
def test_each_model_s_versions_are_said_and_a_bad_one_leaves_the_old_one(run_client, repository, transport):
    with start_server(repository) as served:
        url = [f"--url={getattr(served, transport)}", f"--transport={transport}"]

        def reload(*names: str) -> subprocess.CompletedProcess[str]:
            return run_client("reload", *url, *(f"--model={name}" for name in names))

        done = reload()
        assert done.returncode == 0, done.stderr
        assert [line.split(" (")[0] for line in done.stdout.splitlines()] == [
            "one: nothing changed: version 1 as before, with the same configuration",
            "other: nothing changed: version 1 as before, with the same configuration",
        ]
        new_version(repository, "one", 2)
        assert reload().stdout.splitlines()[0].startswith("one: version 2 in place of version 1 (")
        config = repository / "one/config.pbtxt"
        good = config.read_text()
        config.write_text(good + "version_policy { latest { num_versions: 2 } }\n")
        assert reload("one").stdout.startswith("one: versions 1, 2 in place of version 2 (")
        config.write_text(good.replace("max_batch_size: 64", "max_batch_size: 32"))
        assert reload("one").returncode == 0
        config.write_text(good)
        assert reload("one").stdout.startswith("one: version 2 as before, with another configuration (")

        new_version(repository, "one", 3).write_bytes(b"bad")
        line = is_one_line(reload("one"))
        assert "model 'one': not loaded: version 3: " in line
        assert line.endswith("; version 2 serves on")
        assert "At:" not in line
        digest = "0" * 64
        (repository / "one/3/provenance.json").write_text(json.dumps({"sha256": digest}))
        line = is_one_line(reload("one"))
        assert f"expected SHA-256 {digest} (provenance.json), found " in line
        assert "build it anew, or serve it as it is: --allow-changed" in line
        shutil.rmtree(repository / "one/3")
        config.write_text("nonsense {")
        done = reload()
        assert done.returncode == 1
        assert "one: not loaded: its directory or configuration cannot be read; version 2 serves on" in done.stderr
        assert "error: 1 of 2 models could not be loaded anew: one" in done.stderr
        assert done.stdout.startswith("other: nothing changed")
        assert "has no model 'absent'" in is_one_line(reload("absent"))


@pytest.mark.triton
def test_a_model_that_was_never_loaded_and_a_server_that_serves_nothing(run_client, repository):
    with start_server(repository, "--load=one") as served:
        done = run_client("reload", f"--url={served.grpc}", "--model=other")
        assert done.stdout.startswith("other: version 1 is ready, none before (")


@pytest.mark.triton
def test_a_configuration_of_a_client_s_own_is_not_taken_for_the_repository_s(run_client, tmp_path):
    """Triton keeps it whatever is loaded afterwards, and does not say so; what is advised makes it go."""
    repository = tmp_path / "repository"
    models.add_sleeper(repository, "one")
    with start_server(repository) as served, contextlib.closing(Control(Endpoint(served.grpc))) as control:

        def size() -> int:
            return control.call("get_model_config", "one").config.max_batch_size

        own = size()
        control.call("load_model", "one", config='{"max_batch_size": 8}')
        done = run_client("reload", f"--url={served.grpc}")
        assert done.stdout == "one: nothing changed: version 1 as before, with the same configuration\n"
        assert "a configuration that a client gave with a load of its own" in done.stderr
        assert "touch the model's config.pbtxt and reload" in done.stderr
        assert size() == 8 != own
        os.utime(repository / "one/config.pbtxt")
        done = run_client("reload", f"--url={served.grpc}")
        assert done.stdout.startswith("one: version 1 as before, with another configuration (")
        assert done.stderr == ""
        assert size() == own


@pytest.mark.triton
@pytest.mark.parametrize("transport", ["grpc", "http"])
def test_a_configuration_that_the_server_does_not_complete_names_the_way_out(run_client, repository, transport):
    with start_server(repository, "--load=other") as served:
        (repository / "one/config.pbtxt").write_text('platform: "onnxruntime_onnx"\nmax_batch_size: 4\n')
        done = run_client("reload", f"--url={getattr(served, transport)}", f"--transport={transport}", "--model=one")
        assert "the configuration names 0 input(s)" in is_one_line(done)
        assert "--auto-complete-config" in done.stderr.splitlines()[1]
        assert "--disable-auto-complete-config" in done.stderr.splitlines()[1]
    with start_server(repository, "--load=other", "--auto-complete-config") as served:
        done = run_client("reload", f"--url={getattr(served, transport)}", f"--transport={transport}", "--model=one")
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("said", "helps"),
    [
        (
            "load failed for model 'm': the configuration names 0 input(s) (), but the model needs 1: 'x' is missing",
            True,
        ),
        ("unable to load model 'm', configuration expects 0 inputs, model provides 1", True),
        ("unable to load model 'm', configuration expects 2 inputs, model provides 1", False),
        ("model configuration must specify 'platform' or 'backend' for 'm'", True),
        ("must specify 'backend' for 'm'", True),
        ("model input must specify 'dims' for m", True),
        ("unexpected platform type '' for m", True),
        ("Protobuf parsing failed.", False),
        ("version 1: cannot specify a batch size", False),
    ],
)
def test_which_refusals_a_completed_configuration_helps(said, helps):
    with fake_triton(Behaviour(load_error=said)) as url, pytest.raises(ClientError) as raised:
        versions.load(Control(Endpoint(url)), "m")
    assert said in str(raised.value)
    assert ("--auto-complete-config" in raised.value.hint) == helps


@pytest.mark.triton
def test_a_model_that_needs_longer_serves_its_old_version_meanwhile(run_client, tmp_path):
    repository = tmp_path / "repository"
    add_slow(repository, "slow", 8)
    with start_server(repository) as served:
        publish_slow(repository, "slow")
        line = is_one_line(run_client("reload", f"--url={served.grpc}", "--timeout=2"))
        assert "not loaded within 2 s; version 1 serves on; the server goes on loading" in line


@pytest.mark.triton
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_server_that_dies_or_freezes_in_the_middle(repository, tmp_path, number):
    add_slow(repository, "a_slow", 30)
    with start_server(repository) as served:
        publish_slow(repository, "a_slow")
        command = [sys.executable, "-m", "client", "reload", f"--url={served.grpc}", "--timeout=8"]
        client = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            time.sleep(4)
            assert client.poll() is None
            os.kill(served.server_pid, number)
            _, said = client.communicate(timeout=60)
        finally:
            client.kill()
            if number is signal.SIGSTOP:
                os.kill(served.server_pid, signal.SIGCONT)
    done = subprocess.CompletedProcess(command, client.returncode, "", said)
    if number is signal.SIGKILL:
        assert "the server went while it loaded model 'a_slow': no Triton answers" in is_one_line(done)
        assert "; not tried: one, other" in said
    else:
        assert client.returncode == 1
        assert "not loaded within 8 s, and the server does not answer any more" in said


@contextmanager
def tritonserver(repository: Path, directory: Path, change: str) -> Iterator[str]:
    """Under the launcher, with `change` made to the list `options` of tritonserver's command line; its gRPC address."""
    code = (
        "import sys; from server.triton import process; real = process.TritonServer._command\n"
        "def command(self, workspace):\n"
        "    options = real(self, workspace)\n"
        f"    return {change}\n"
        "process.TritonServer._command = command\n"
        "from console import run; from server.__main__ import parser\n"
        "sys.exit(run(parser()))\n"
    )
    if not SERVER_PYTHON.is_file():
        pytest.skip("the embedded server's environment is missing")
    ready = directory / "ready"
    command = [SERVER_PYTHON, "-c", code, f"--repository={repository}", f"--ready-file={ready}", *FREE_PORTS]
    launcher = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        wait_for(lambda: ready.exists() or launcher.poll() is not None, 60)
        yield json.loads(ready.read_text())["grpc"]
    finally:
        launcher.terminate()
        launcher.wait(60)


@pytest.mark.triton
@pytest.mark.parametrize("mode", ["none", "poll"])
def test_a_server_in_another_mode_is_told_from_a_failure(run_client, repository, tmp_path, mode):
    change = f"[text.replace('=explicit', '={mode}') for text in options if not text.startswith('--load-model')]"
    with tritonserver(repository, tmp_path, change) as url:
        done = run_client("reload", f"--url={url}")
    assert "takes no loads: it is in the model control mode NONE or POLL" in is_one_line(done)
    assert "--model-control-mode=explicit" in done.stderr


@pytest.mark.triton
def test_a_server_that_is_not_ready_for_want_of_a_model_can_be_helped(run_client, repository, tmp_path):
    """Triton's own default is a strict readiness: one model that failed, and the server is not ready."""
    change = "[text for text in options if text != '--strict-readiness=false']"
    with tritonserver(repository, tmp_path, change) as url:
        bad = new_version(repository, "one", 2)
        good = bad.read_bytes()
        bad.write_bytes(b"bad")
        line = is_one_line(run_client("reload", f"--url={url}", "--model=one"))
        assert line.endswith("; version 1 serves on")
        bad.write_bytes(good)
        done = run_client("reload", f"--url={url}")
    assert done.stdout.startswith("one: version 2 in place of version 1 ("), done.stderr


def test_nobody_there_and_something_else_there_are_one_line(run_client):
    assert "no Triton answers at 127.0.0.1:1" in is_one_line(run_client("reload", "--url=127.0.0.1:1", "--timeout=5"))
    with listening(None) as url:
        assert "no answer within 2 s" in is_one_line(run_client("reload", f"--url={url}", "--timeout=2"))
