"""HTTP servers whose answer does not end: a byte now and then keeps a socket's timeout from coming."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pytest

from client.connection import Endpoint, Model, Transport
from client.connection.http_transport import HttpTransport
from client.errors import ClientError, RequestTimedOutError, ServerUnreachableError
from tests.client.raw_server import answering

OK = b"HTTP/1.1 200 OK\r\n"
TIMEOUT = 2


def dripping(content: bytes) -> Iterator[bytes]:
    for byte in content:
        yield bytes([byte])
        time.sleep(0.2)


ENDLESS: dict[str, Callable[[], Iterable[bytes]]] = {
    "a byte of the body now and then": lambda: itertools.chain(
        [OK + b"Content-Length: 900\r\n\r\n"], dripping(900 * b"x")
    ),
    "a byte of the head now and then": lambda: dripping(OK + 900 * b"x"),
    "a header now and then": lambda: itertools.chain([OK], dripping(900 * b"a")),
    "chunks now and then": lambda: itertools.chain(
        [OK + b"Transfer-Encoding: chunked\r\n\r\n"], dripping(300 * b"1\r\nx\r\n")
    ),
    "chunks without a pause": lambda: itertools.chain(
        [OK + b"Transfer-Encoding: chunked\r\n\r\n"], itertools.repeat(b"400\r\n" + 1024 * b"x" + b"\r\n")
    ),
    "a body without a length": lambda: itertools.chain([OK + b"\r\n"], itertools.repeat(1024 * b"x")),
    "a part, and then nothing": lambda: itertools.chain([OK + b"Content-Length: 9\r\n\r\nx"], dripping(b"")),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_questions_to_a_server_end_in_time(run_client, kind):
    with answering(ENDLESS[kind]) as url:
        since = time.monotonic()
        done = run_client("latency", f"--url={url}", "--transport=http", f"--timeout={TIMEOUT}")
        assert time.monotonic() - since < 60  # it would be for ever
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == f"error: no answer within {TIMEOUT} s"


@pytest.mark.parametrize("kind", ENDLESS)
def test_requests_end_in_time(kind):
    with (
        answering(ENDLESS[kind]) as url,
        contextlib.closing(HttpTransport(Endpoint(url, Transport.HTTP, timeout=TIMEOUT))) as transport,
    ):
        ended, errors = threading.Event(), []

        def done(answer: object, error: ClientError | None) -> None:
            errors.append(error)
            ended.set()

        images = np.zeros((1, 32, 32, 3), np.uint8)
        transport.send(transport.body(Model("m", "1", "", 64, {}), images, None), done)
        assert ended.wait(60)
    (error,) = errors
    if "without" in kind:  # more than any answer has, before the time is over
        assert isinstance(error, (ServerUnreachableError, RequestTimedOutError))
    else:
        assert isinstance(error, RequestTimedOutError)
