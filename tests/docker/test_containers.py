"""The compose files' container on a real engine, with the embedded Triton in the place of NVIDIA's image."""

from __future__ import annotations

import socket
import threading
import urllib.request

import numpy as np
import psutil
import pytest

from client.connection import Connection, Endpoint
from tests.support.containers import up
from tests.support.triton import wait_for

pytestmark = [pytest.mark.triton, pytest.mark.slow]


@pytest.fixture(scope="module")
def served(image, repository):
    with up(repository) as project:
        yield project


def classes(connection, images) -> list[int]:
    model = connection.control.model("resnet18_onnx")
    return connection.infer(connection.prepare(model, images)).argmax(axis=1).tolist()


def test_it_answers_each_image_with_its_own_class(served, images):
    with Connection(Endpoint(served.url("GRPC_PORT"))) as connection:
        assert connection.control.ready_models() == ["resnet18_onnx"]  # the plan beside it is left alone
        model = connection.control.model("resnet18_onnx")
        answers: dict[int, list[int]] = {}
        done = threading.Event()

        def keep(number, answer):
            answers[number] = answer.logits().argmax(axis=1).tolist()
            if len(answers) == 32:
                done.set()

        for number in range(32):
            turned = np.roll(images, number, axis=0)
            connection.send(connection.prepare(model, turned), lambda answer, number=number: keep(number, answer))
        assert done.wait(60)
    assert answers == {number: np.roll(np.arange(8), number).tolist() for number in range(32)}


def test_its_health_check_turns_healthy_by_asking_triton(served):
    state = served.inspect()["State"]["Health"]
    assert state["Status"] == "healthy"
    assert state["Log"][-1]["ExitCode"] == 0


def test_it_runs_as_nobody_special_and_may_gain_nothing(served):
    status = dict(line.split(":\t", 1) for line in served.inside("cat /proc/1/status").splitlines())
    assert status["Name"] == "tritonserver"
    assert status["Uid"].split() == ["1000"] * 4
    assert status["Gid"].split() == ["1000"] * 4
    assert {int(status[name], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert status["NoNewPrivs"].strip() == "1"


@pytest.mark.parametrize("path", ["/opt/tritonserver/backends/onnxruntime/model.py", "/usr/bin/x", "/models/x", "/x"])
def test_not_even_its_root_can_change_the_system_or_the_repository(served, path):
    assert "Read-only file system" in served.inside(f"touch {path}", user="0:0")


def test_what_it_may_write_is_memory_from_which_nothing_is_run(served):
    said = served.inside("cp /bin/true /tmp/true && /tmp/true; df --output=size /dev/shm | tail -1")
    assert "Permission denied" in said  # noexec
    assert said.splitlines()[-1].strip() == str(1024 * 1024)  # KB: Triton's models of Python exchange tensors there


def test_only_this_machine_reaches_its_ports(served):
    bound = served.inspect()["NetworkSettings"]["Ports"]
    assert {entry["HostIp"] for port in bound.values() for entry in port} == {"127.0.0.1"}
    others = [
        address.address
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family == socket.AF_INET and not address.address.startswith("127.")
    ]
    for address in others:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((address, int(served.variables["GRPC_PORT"])), 5)


def test_metrics_and_http_are_published_too(served):
    with urllib.request.urlopen(f"http://{served.url('METRICS_PORT')}/metrics", timeout=10) as answer:
        assert b'nv_inference_count{model="resnet18_onnx",version="1"}' in answer.read()
    with urllib.request.urlopen(f"http://{served.url('HTTP_PORT')}/v2/health/ready", timeout=10) as answer:
        assert answer.status == 200


def test_asked_to_stop_it_answers_what_is_in_flight_and_ends_by_itself(image, slow_repository, images):
    with up(slow_repository) as project, Connection(Endpoint(project.url("GRPC_PORT"))) as connection:
        model = connection.control.model("resnet18_onnx")
        answers = []
        for number in range(4):
            request = connection.prepare(model, images[number : number + 1])
            connection.send(request, answers.append)
        wait_for(lambda: "1" in _pending(project), 30)
        project.compose("stop")  # SIGTERM, and SIGKILL after stop_grace_period
        wait_for(lambda: len(answers) == 4, 30)
        assert [answer.logits().shape for answer in answers] == [(1, 10)] * 4
        state = project.inspect()["State"]
        assert (state["ExitCode"], state["OOMKilled"]) == (0, False)


def _pending(project) -> str:
    """How many requests the server holds, and whether one is computed: by its own count of received ones."""
    with urllib.request.urlopen(f"http://{project.url('METRICS_PORT')}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return "".join(line.split()[-1] for line in lines if line.startswith("nv_inference_pending_request_count{"))
