"""What the client says where something else than a Triton answers, or a Triton that refuses, stops or is silent."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from client.connection import Endpoint, Transport, explain
from client.errors import ClientError, RequestFailedError, RequestRejectedError, ServerUnreachableError
from tests.client.conftest import ROOT, write_dataset
from tests.client.raw_server import answering
from tests.support import models
from tests.support.triton import start_server


def http(status: str, body: str = "", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


ANSWERS = {
    "HTTP/2 settings": b"\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "web page": http("200 OK", "<html>hello</html>", "Content-Type: text/html"),
    "other JSON": http("200 OK", '{"a": 1}'),
    "JSON list": http("200 OK", "[1, 2]"),
    "JSON number": http("200 OK", "7"),
    "nothing": http("200 OK"),
    "not UTF-8": http("200 OK").replace(b"Length: 0", b"Length: 2") + b"\xff\xfe",
    "redirect": http("302 Found", "", "Location: https://login.example/"),
    "redirect with a page": http("301 Moved Permanently", "<html>there</html>", "Location: https://login.example/"),
    "bad request": http("400 Bad Request", '{"error": 7}'),
    "unauthorised": http("401 Unauthorized", "<html>who are you?</html>"),
    "forbidden": http("403 Forbidden", "<html>no</html>"),
    "not found": http("404 Not Found", "<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD></HTML>"),
    "bad gateway": http("502 Bad Gateway", "<html>bad gateway</html>"),
    "unavailable": http("503 Service Unavailable"),
    "gateway timeout": http("504 Gateway Timeout", "<html>late</html>"),
    "cut off": http("200 OK", "{}").replace(b"Length: 2", b"Length: 900"),
    "closes": b"",
}
REFUSALS = {"unauthorised": "refuses: 401 Unauthorized", "forbidden": "refuses: 403 Forbidden"}
GATEWAYS = {"bad gateway": "502 Bad Gateway", "unavailable": "503 Service Unavailable",
            "gateway timeout": "504 Gateway Timeout"}  # fmt: skip


def listening(answer: bytes | None) -> contextlib.AbstractContextManager[str]:
    """A TCP server that answers whatever comes with the same bytes and closes; None: it says nothing."""
    return answering(lambda: [] if answer is None else [answer], closes=answer is not None)


def is_one_line(done: subprocess.CompletedProcess[str]) -> str:
    """The line of an error with exit code 1."""
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    assert all(line.startswith(("error: ", "hint: ")) for line in done.stderr.splitlines()), done.stderr
    return errors[0]


@pytest.mark.parametrize("kind", ANSWERS)
def test_over_http_what_is_not_triton_is_one_line(run_client, kind):
    with listening(ANSWERS[kind]) as url:
        line = is_one_line(run_client("latency", f"--url={url}", "--transport=http", "--timeout=3"))
    if kind in GATEWAYS:
        assert f"a gateway at {url} answers {GATEWAYS[kind]}: no Triton behind it" in line
    elif kind in REFUSALS:
        assert REFUSALS[kind] in line
    elif kind == "cut off":
        assert f"{url} closed the connection in the middle of an answer (after 2 of 900 bytes)" in line
    elif kind == "closes":
        assert f"no Triton answers at {url} (Remote end closed connection without response)" in line
    else:
        assert f"what answers at {url} is not Triton's HTTP service: " in line


@pytest.mark.parametrize("kind", ANSWERS)
def test_over_grpc_what_is_not_triton_is_one_line(run_client, kind):
    with listening(ANSWERS[kind]) as url:
        line = is_one_line(run_client("latency", f"--url={url}", "--timeout=3"))
    if ANSWERS[kind].startswith((b"HTTP/1", b"SSH")):
        assert f"what answers at {url} is not Triton's gRPC service: it speaks HTTP/1" in line
    else:
        assert f"no Triton answers at {url}" in line


@pytest.mark.parametrize("transport", [transport.value for transport in Transport])
def test_a_port_that_says_nothing_is_left_in_time(run_client, transport):
    with listening(None) as url:
        line = is_one_line(run_client("latency", f"--url={url}", f"--transport={transport}", "--timeout=2"))
    assert "no answer within 2 s" in line


@pytest.mark.triton
@pytest.mark.parametrize(("transport", "port"), [("http", "grpc"), ("grpc", "http"), ("system-shm", "http")])
def test_a_service_of_triton_with_the_others_transport_names_the_right_port(run_client, served, transport, port):
    done = run_client("accuracy", f"--url={getattr(served, port)}", f"--transport={transport}", "--timeout=3")
    line = is_one_line(done)
    if transport == "http":
        assert "is not Triton's HTTP service" in line
        assert "has 8000 by default" in done.stderr
    else:
        assert "something takes connections there and closes them at once" in line
        assert "is it the gRPC port (8001 by default)" in done.stderr


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--header=two words:x", "found 'two words:x'"),
        ("--header=a\nb:x", r"found 'a\nb:x'"),
        ("--header=a:x\r\nb: y", r"found 'a:x\r\nb: y'"),
        ("--header=naïve:x", "found 'naïve:x'"),
        ("--header=a:naïve", "found 'a:naïve'"),
        ("--header=a:x\x07y", "printable ASCII"),
        ("--header=:x", "found ':x'"),
        ("--header=a", "found 'a'"),
        ("--url=127.0.0.1:99999", "a port of 1 to 65535; found '127.0.0.1:99999'"),
        ("--url=127.0.0.1:0", "a port of 1 to 65535; found '127.0.0.1:0'"),
        ("--url=127.0.0.1:", "found '127.0.0.1:'"),
        ("--url=127.0.0.1:²", "found '127.0.0.1:²'"),
        ("--url=:8001", "found ':8001'"),
        ("--url=a b:8001", "found 'a b:8001'"),
        ("--url=hôst:8001", "found 'hôst:8001'"),
        ("--url=host/path:8001", "found 'host/path:8001'"),
        ("--url=user@host:8001", "found 'user@host:8001'"),
        ("--url=::1:8001", "found '::1:8001'"),
        ("--url=a\nb:8001", r"found 'a\nb:8001'"),
        ("--url=[zz]:8001", "found '[zz]:8001'"),
        ("--url=[127.0.0.1]:8001", "found '[127.0.0.1]:8001'"),
        ("--url=256.1.1.1:8001", "found '256.1.1.1:8001'"),
        ("--url=127.1:8001", "found '127.1:8001'"),
        ("--url=a..b:8001", "found 'a..b:8001'"),
        ("--url=-h:8001", "found '-h:8001'"),
        (f"--url={64 * 'a'}:8001", f"found '{64 * 'a'}:8001'"),
        ("--url=nowhere.invalid:8001", "error: no host is found under the name 'nowhere.invalid'"),
    ],
)
@pytest.mark.parametrize("transport", ["grpc", "http"])
def test_options_that_cannot_travel_are_refused(run_client, transport, option, said):
    options = [option] if option.startswith("--url") else [option, "--url=127.0.0.1:1"]
    done = run_client("latency", f"--transport={transport}", *options)
    assert done.returncode == 1
    assert said in done.stderr.splitlines()[-1] or said in done.stderr.splitlines()[-2]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "[fe80::1%eth0]", "h_1.x-y", "xn--hst-sna.de."])
def test_hosts_of_every_kind_are_taken(host):
    assert Endpoint(f"{host}:8001").host == host.strip("[]")


GRPC, HTTP = Endpoint("127.0.0.1:8001"), Endpoint("127.0.0.1:8000", Transport.HTTP)


@pytest.mark.parametrize(
    ("status", "message", "kind", "said"),
    [
        ("UNAVAILABLE", "failed to connect to all addresses; x", ServerUnreachableError, "no Triton answers"),
        ("UNAVAILABLE", "Socket closed", ServerUnreachableError, "no Triton answers"),
        ("UNAVAILABLE", "", ServerUnreachableError, "no Triton answers"),
        ("UNAVAILABLE", "DNS resolution failed for nowhere:8001", ServerUnreachableError, "no host is found"),
        ("UNAVAILABLE", "errors resolving h:1: [Domain name not found]", ServerUnreachableError, "no host is found"),
        ("CANCELLED", "Locally cancelled by application!", ServerUnreachableError, "no Triton answers"),
        ("UNAVAILABLE", "Request timeout expired", RequestRejectedError, "the server's queue refused a request"),
        ("503", "Request timeout expired", RequestRejectedError, "the server's queue refused a request"),
        ("UNAVAILABLE", "Exceeds maximum queue size", RequestRejectedError, "the server's queue refused a request"),
        ("503", "[request id: 1] Exceeds maximum queue size", RequestRejectedError, "the server's queue refused"),
        ("UNAVAILABLE", "Server is stopping, scheduler for model has stopped", ServerUnreachableError, "is stopping"),
        ("503", "Server exiting", ServerUnreachableError, "is stopping"),
        ("UNAVAILABLE", "Request for unknown model: 'x' is not found", RequestFailedError, "unknown model"),
        ("UNAVAILABLE", "Stub process 'x' is not healthy.", RequestFailedError, "Stub process 'x' is not healthy."),
        ("INTERNAL", "CUDA error: out of memory", RequestFailedError, "the server is out of memory"),
        ("500", "onnx runtime error 6: std::bad_alloc", RequestFailedError, "the server is out of memory"),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", RequestFailedError, "no answer within 60 s"),
        ("UNIMPLEMENTED", "Method not found!", ServerUnreachableError, "a gRPC server without this call"),
        ("UNAUTHENTICATED", "no token", ClientError, "refuses: no token"),
    ],
)  # fmt: skip
def test_what_a_status_means(status, message, kind, said):
    error = explain.explained(HTTP if status.isdigit() else GRPC, status, message)
    assert isinstance(error, kind)
    assert isinstance(error, ServerUnreachableError) == (kind is ServerUnreachableError)
    assert isinstance(error, RequestRejectedError) == (kind is RequestRejectedError)
    assert said in str(error)


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    """A model that takes 50 ms a request, and one whose queue refuses whoever waits for 20 ms."""
    path = tmp_path_factory.mktemp("slow")
    models.add_sleeper(path, "patient", seconds=0.01)
    policy = (
        "dynamic_batching { default_queue_policy { timeout_action: REJECT default_timeout_microseconds: 20000 } }\n"
    )
    models.add_sleeper(path, "hurried", seconds=0.05, config=policy)
    return path


@pytest.mark.triton
def test_both_transports_count_what_a_queues_timeout_refused(run_client, slow, tmp_path):
    with start_server(slow) as server:
        for transport, url in (("grpc", server.grpc), ("http", server.http)):
            done = run_client("latency", "--model=hurried", f"--url={url}", f"--transport={transport}",
                              "--batch-sizes=1", "--concurrency=8", "--rounds=1", "--duration=1",
                              f"--output={transport}.json")  # fmt: skip
            assert done.returncode == 0, done.stderr
            (row,) = json.loads((tmp_path / f"{transport}.json").read_text())["rows"]
            assert row["rejected"] > 0
            assert row["failed"] == row["timed_out"] == 0
            assert row["requests"] > 0


@pytest.mark.triton
def test_more_connections_than_files_that_may_be_open_is_one_line(slow, tmp_path):
    with start_server(slow, "--load=patient") as server:
        command = f"ulimit -n 64; exec {sys.executable} -m client latency --model=patient --url={server.http}"
        done = subprocess.run(["bash", "-c", f"{command} --transport=http --concurrency=200 --rounds=1 --duration=1 "
                               f"--batch-sizes=1 --output={tmp_path / 'a.json'}"],
                              cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "this process may have 64 files open" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.triton
@pytest.mark.slow
def test_a_server_that_freezes_ends_every_command_in_time(slow, tmp_path):
    """All of them at once, on one server: what takes long here is the waiting."""
    pixels = np.zeros(20_000, np.int64)
    data = write_dataset(tmp_path / "cifar", pixels, pixels)
    clients: dict[str, subprocess.Popen[str]] = {}
    with start_server(slow, "--load=patient") as server:
        for command, transport in itertools.product(
            ["accuracy", "end-to-end", "latency"], ["grpc", "http", "system-shm"]
        ):
            options = ["--duration=60", "--batch-sizes=1"] if command == "latency" else ["--batch-size=1"]
            url = server.http if transport == "http" else server.grpc
            output = tmp_path / f"{command}-{transport}.json"
            line = [sys.executable, "-m", "client", command, "--model=patient", f"--url={url}", f"--data={data}",
                    "--timeout=2", f"--transport={transport}", f"--output={output}", *options]  # fmt: skip
            clients[f"{command} over {transport}"] = subprocess.Popen(
                line, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        time.sleep(15)
        still = {name for name, client in clients.items() if client.poll() is None}
        os.kill(server.server_pid, signal.SIGSTOP)
        try:
            said = {name: client.communicate(timeout=60)[1] for name, client in clients.items()}
        finally:
            for client in clients.values():
                client.kill()
            os.kill(server.server_pid, signal.SIGCONT)
        left = {
            name for name, client in clients.items() if list(Path("/dev/shm").glob(f"triton_client_{client.pid}_*"))
        }
    assert still == set(clients), said
    assert not left
    for name, client in clients.items():
        assert client.returncode == 1, (name, said[name])
        assert "no answer within 2 s" in said[name], (name, said[name])
        assert "Traceback" not in said[name], (name, said[name])
