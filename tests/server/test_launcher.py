"""How the launcher starts, stops and cleans up, with the real tritonserver."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
import urllib.request
from pathlib import Path

import numpy as np
import psutil
import pytest
import tritonclient.grpc as grpcclient

from cifar10 import CLASS_NAMES
from client.connection import Control, Endpoint, Transport
from tests.support import models
from tests.support.triton import has_ipv6, left_behind, run_server, start_server, wait_for

pytestmark = pytest.mark.triton


@pytest.fixture
def doubler(tmp_path):
    models.add_doubler(tmp_path)
    return tmp_path


def test_what_this_machine_cannot_serve_is_left_out(served):
    assert set(served.models) == {"doubler", "classifier", "convolution"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stopped_server_leaves_nothing(doubler, number):
    with start_server(doubler) as server:
        with urllib.request.urlopen(f"http://{server.http}/v2/health/ready", timeout=5) as response:
            assert response.status == 200
        assert left_behind(server.launcher.pid), "nothing to clean up would prove nothing"
        os.killpg(server.launcher.pid, number)  # the whole foreground group, as a terminal does
        assert server.launcher.wait(60) == 0
        assert left_behind(server.launcher.pid) == []
        assert not psutil.pid_exists(server.server_pid)


def test_a_killed_server_is_reported_and_leaves_nothing(doubler):
    with start_server(doubler) as server:
        os.kill(server.server_pid, signal.SIGKILL)
        assert server.launcher.wait(60) == 1
        assert "error: Triton was killed by SIGKILL while serving" in server.launcher.stderr.read()
        wait_for(lambda: not left_behind(server.launcher.pid), 10)


def test_a_killed_launcher_takes_the_server_along_and_the_next_one_cleans_up(doubler):
    with start_server(doubler) as server:
        server.launcher.kill()
        server.launcher.wait()
        wait_for(lambda: not psutil.pid_exists(server.server_pid), 60)
        assert run_server(f"--repository={doubler}", "--", "true").returncode == 0
        assert left_behind(server.launcher.pid) == []


def test_a_command_runs_beside_the_server_and_its_exit_code_is_returned(doubler, tmp_path):
    script = "import os, sys; open(sys.argv[1], 'w').write(os.environ['TRITON_URL']); sys.exit(7)"
    result = run_server(f"--repository={doubler}", "--", sys.executable, "-c", script, str(tmp_path / "url"))
    assert result.returncode == 7
    assert (tmp_path / "url").read_text().startswith("127.0.0.1:")


def test_a_command_that_does_not_exist(doubler):
    result = run_server(f"--repository={doubler}", "--", "/no/such/command")
    assert result.returncode == 1
    assert "cannot run /no/such/command: No such file or directory" in result.stderr


def test_a_corrupt_model_is_refused_with_a_reason(doubler):
    path = models.add_doubler(doubler, "corrupt")
    path.write_bytes(path.read_bytes()[:40])
    result = run_server(f"--repository={doubler}", "--load=corrupt")
    assert result.returncode == 1
    assert "error: corrupt: " in result.stderr
    assert "Protobuf parsing failed" in result.stderr
    assert len(result.stderr.splitlines()) <= 2, "the reason, not the log"


def test_a_corrupt_model_is_left_out_and_the_others_are_served(doubler):
    path = models.add_doubler(doubler, "corrupt")
    path.write_bytes(path.read_bytes()[:40])
    with start_server(doubler) as server:
        assert server.models == ["doubler"]
        assert "Protobuf parsing failed" in server.left_out["corrupt"]
        with urllib.request.urlopen(f"http://{server.http}/v2/health/ready", timeout=5) as response:
            assert response.status == 200


DISAGREEMENTS = {
    "name": (models.tensor("input", "z", "TYPE_FP32", [-1]), "input 'z' is configured"),
    "dtype": (models.tensor("input", "x", "TYPE_INT32", [-1]), "TYPE_INT32, the model has TYPE_FP32"),
    "rank": (models.tensor("input", "x", "TYPE_FP32", [-1, 2]), "says [-1, -1, 2], the model has [-1, -1]"),
    "parameter": (
        models.tensor("input", "x", "TYPE_FP32", [-1])
        + 'parameters { key: "execution_mode" value { string_value: "3" } }\n',
        "parameter execution_mode: expected one of 0 to 1, found 3",
    ),
}


def test_configurations_that_disagree_with_their_model_are_refused(tmp_path):
    output = models.tensor("output", "y", "TYPE_FP32", [-1])
    for name, (entry, _) in DISAGREEMENTS.items():
        config = models.PLATFORM + "max_batch_size: 4\n" + entry + output
        models.add_doubler(tmp_path, name, config=config)
    models.add_doubler(tmp_path, "batch", batch=3)
    result = run_server(f"--repository={tmp_path}")
    assert result.returncode == 1
    for name, (_, said) in DISAGREEMENTS.items():
        assert f"{name}: " in result.stderr
        assert said in result.stderr
    assert "the model's first dimension must vary, but it is fixed to 3" in result.stderr


def test_a_busy_port_is_named(doubler):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        result = run_server(f"--repository={doubler}", f"--grpc-port={port}")
    assert result.returncode == 1
    assert f"127.0.0.1:{port} (--grpc-port): Address already in use" in result.stderr


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no address of IPv6")
@pytest.mark.parametrize("host", ["::1", "::"])
def test_it_serves_over_ipv6(doubler, tmp_path, host):
    """With addresses that clients can use: whoever runs beside it is told them, and the client takes them."""
    models.add_classifier(doubler)
    script = "import os, sys; open(sys.argv[1], 'w').write(os.environ['TRITON_HTTP_URL'])"
    with start_server(doubler, f"--host={host}") as server:
        assert server.grpc.startswith(f"[{host}]:")
        assert server.http.startswith(f"[{host}]:")
        with urllib.request.urlopen(f"http://{server.http}/v2/health/ready", timeout=5) as response:
            assert response.status == 200
        for transport in ("grpc", "http"):
            control = Control(Endpoint(getattr(server, transport), Transport(transport), 10))
            assert control.ready_models() == ["classifier", "doubler"]
            assert control.model("classifier").max_batch_size == 64
            control.close()
    if host == "::1":
        done = run_server(
            f"--repository={doubler}", f"--host={host}", "--", sys.executable, "-c", script, str(tmp_path / "url")
        )
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "url").read_text().startswith("http://[::1]:")
        assert "(gRPC), http://[::1]:" in done.stderr


def test_what_is_published_while_it_serves_is_loaded(doubler, tmp_path_factory):
    """A version that is exchanged for another in one step, a model that is new, and one under another name."""
    staging = tmp_path_factory.mktemp("staging")
    models.add_doubler(staging)
    models.add_classifier(staging)
    (staging / "doubler/1").rename(staging / "doubler/2")
    with start_server(doubler) as server, grpcclient.InferenceServerClient(server.grpc) as client:
        assert client.is_model_ready("doubler", "1")
        exchange(staging / "doubler", doubler / "doubler")
        (staging / "classifier").rename(doubler / "classifier")
        (doubler / "link").symlink_to(doubler / "classifier")
        for name in ("doubler", "classifier", "link"):
            client.load_model(name)
        assert client.is_model_ready("doubler", "2")
        assert not client.is_model_ready("doubler", "1")
        given = grpcclient.InferInput("x", [1, 3], "FP32")
        given.set_data_from_numpy(np.array([[1, 2, 3]], np.float32))
        assert client.infer("doubler", [given]).as_numpy("y").tolist() == [[2, 4, 6]]
        images = np.full((1, 32, 32, 3), 7, np.uint8)
        given = grpcclient.InferInput("images", images.shape, "UINT8")
        given.set_data_from_numpy(images)
        wanted = [grpcclient.InferRequestedOutput("logits", class_count=1)]
        for name in ("classifier", "link"):
            answer = client.infer(name, [given], outputs=wanted).as_numpy("logits")
            assert answer.flat[0].decode().endswith(f":7:{CLASS_NAMES[7]}"), "labels.txt is found"


def exchange(one: Path, other: Path) -> None:
    """Exchange two directories in one step, as a publisher does: renameat2(2) with RENAME_EXCHANGE."""
    here, exchanged = -100, 2
    assert ctypes.CDLL(None).renameat2(here, bytes(one), here, bytes(other), exchanged) == 0


def test_only_the_wanted_models_are_loaded(repository):
    with start_server(repository, "--load=doubler") as server:
        assert server.models == ["doubler"]


def test_the_launcher_needs_no_working_directory_of_its_own(doubler, tmp_path, monkeypatch):
    """A relative repository is found from wherever the launcher starts."""
    result = run_server("--repository", os.path.relpath(doubler, Path(__file__).parents[2]), "--", "true")
    assert result.returncode == 0, result.stderr
