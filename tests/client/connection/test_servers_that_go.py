"""A server that goes away in the middle of an answer: one line and exit code 1, and nobody waits for the rest."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from client.connection import Connection, Endpoint, Model, Tls, Transport
from client.connection.http_control import HttpControl
from client.connection.http_transport import HttpTransport
from client.errors import ClientError, ServerUnreachableError
from tests.client.conftest import ROOT, write_dataset
from tests.client.fake_triton import Behaviour, fake_triton
from tests.client.http2_server import http2
from tests.client.raw_server import answering
from tests.support import models
from tests.support.triton import start_server

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
MIDDLE = "closed the connection in the middle of an answer"
GONE = "no Triton answers at"
CUT = {
    "before a byte": (b"", GONE),
    "in the first line": (b"HTTP/1.1 2", "is not Triton's HTTP service"),
    "in a header": (OK + b"Content-Le", MIDDLE),
    "between headers": (OK, MIDDLE),
    "in a header after another head": (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Le", MIDDLE),
    "before the body": (OK + b"Content-Length: 9\r\n\r\n", MIDDLE + " (after 0 of 9 bytes)"),
    "in the body": (OK + b"Content-Length: 9\r\n\r\nabcd", MIDDLE + " (after 4 of 9 bytes)"),
    "before a chunk": (CHUNKED, MIDDLE),
    "in a chunk's length": (CHUNKED + b"1", MIDDLE),
    "in a chunk": (CHUNKED + b"9\r\nabcd", MIDDLE),
    "between chunks": (CHUNKED + b"4\r\nabcd\r\n", MIDDLE),
    "in an error": (b"HTTP/1.1 503 No\r\nContent-Length: 99\r\n\r\n{", MIDDLE),
}
QUESTIONS = {
    "get_server_metadata": (), "get_model_config": ("m",), "get_inference_statistics": (),
    "get_model_repository_index": (), "load_model": ("m",), "infer": ("m", []),
}  # fmt: skip


def inferred(endpoint: Endpoint) -> ClientError | None:
    """The error of a request over HTTP."""
    ended, errors = threading.Event(), []

    def done(answer: object, error: ClientError | None) -> None:
        errors.append(error)
        ended.set()

    with contextlib.closing(HttpTransport(endpoint)) as transport:
        images = np.zeros((1, 32, 32, 3), np.uint8)
        transport.send(transport.body(Model("m", "1", "", 64, {}), images, None), done)
        assert ended.wait(30)
    return errors[0]


@pytest.mark.parametrize("how", ["closes", "resets"])
@pytest.mark.parametrize("where", CUT)
def test_an_answer_that_is_cut_off_over_http_is_named(where, how):
    content, said = CUT[where]
    with answering(lambda: [content], **{how: True}) as url:
        endpoint = Endpoint(url, Transport.HTTP, 10)
        found = [inferred(endpoint)]
        for question, arguments in QUESTIONS.items():
            with pytest.raises(ClientError) as raised:
                getattr(HttpControl(endpoint), question)(*arguments)
            found.append(raised.value)
    for error in found:
        assert isinstance(error, ServerUnreachableError)
        assert url in str(error)
        assert error.hint
        if how == "closes":
            assert said in str(error)
        else:
            assert any(words in str(error) for words in (said, "Connection reset by peer"))


@pytest.mark.parametrize("where", ["in a header", "in the body", "in a chunk"])
def test_the_same_over_a_secured_connection(certificates, where):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    with answering(lambda: [CUT[where][0]], closes=True, tls=context) as url:
        error = inferred(Endpoint(url, Transport.HTTP, 10, Tls(certificates / "authority.pem")))
    assert isinstance(error, ServerUnreachableError)
    assert MIDDLE in str(error) or "EOF occurred" in str(error)


@pytest.mark.parametrize("body", [b"", b"\0\0\0\0\x07ab"])
def test_an_answer_that_is_cut_off_over_grpc_is_named(run_client, body):
    with http2(200, body, ("content-type", "application/grpc"), leaves=True) as url:
        done = run_client("latency", f"--url={url}", "--timeout=5")
    assert done.returncode == 1
    error, hint = done.stderr.splitlines()
    assert f"no Triton answers at {url}" in error
    assert hint.startswith("hint: start one")


def test_a_server_that_goes_between_two_models_is_no_model_of_another_kind():
    """What is ready is asked for, and the server has gone: not that it serves nothing of this project."""
    with fake_triton(Behaviour()) as url:
        connection = Connection(Endpoint(url, timeout=5))
    with pytest.raises(ServerUnreachableError):
        connection.control.model("other")
    connection.close()


@pytest.mark.triton
@pytest.mark.slow
def test_a_server_that_is_killed_ends_every_command(tmp_path):
    """All of them at once, on one server."""
    repository = tmp_path / "models"
    models.add_sleeper(repository, "patient", seconds=0.01)
    pixels = np.zeros(20_000, np.int64)
    data = write_dataset(tmp_path / "cifar", pixels, pixels)
    clients: dict[str, subprocess.Popen[str]] = {}
    with start_server(repository) as server:
        for command, transport in itertools.product(["accuracy", "latency", "check"], ["grpc", "http", "system-shm"]):
            options = {
                "accuracy": [f"--data={data}", "--batch-size=1"],
                "latency": [f"--data={data}", "--duration=60", "--batch-sizes=1"],
                "check": ["--duration=60"],
            }[command]
            url = server.http if transport == "http" else server.grpc
            output = tmp_path / f"{command}-{transport}.json"
            line = [sys.executable, "-m", "client", command, "--model=patient", f"--url={url}", "--timeout=10",
                    f"--transport={transport}", f"--output={output}", *options]  # fmt: skip
            clients[f"{command} over {transport}"] = subprocess.Popen(
                line, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        time.sleep(15)
        still = {name for name, client in clients.items() if client.poll() is None}
        os.kill(server.server_pid, signal.SIGKILL)
        try:
            said = {name: client.communicate(timeout=60)[1] for name, client in clients.items()}
        finally:
            for client in clients.values():
                client.kill()
    assert still >= {name for name in clients if not name.startswith("check")}, said
    for name, client in clients.items():
        if name not in still:  # a check ends by itself where answers tell it enough
            continue
        # which is so of this model: what a check has found goes before the server's end
        wrong = "error: patient: the same answer to every image" in said[name]
        assert client.returncode == (2 if wrong else 1), (name, said[name])
        assert not wrong or name.startswith("check"), (name, said[name])
        assert "Traceback" not in said[name], (name, said[name])
        errors = [line for line in said[name].splitlines() if line.startswith("error: ")]
        assert len(errors) == 1, (name, said[name])
        assert not list(Path("/dev/shm").glob(f"triton_client_{client.pid}_*"))
