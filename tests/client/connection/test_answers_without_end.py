"""HTTP servers whose answer does not end: a byte now and then keeps a socket's timeout from coming."""

from __future__ import annotations

import contextlib
import itertools
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pytest

from client.connection import Endpoint, Model, Tls, Transport
from client.connection.http_control import HttpControl
from client.connection.http_transport import HttpTransport
from client.errors import ClientError, RequestTimedOutError
from tests.client.raw_server import answering

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
TIMEOUT = 2
KIB = 1024 * b"x"


def dripping(content: bytes) -> Iterator[bytes]:
    for byte in content:
        yield bytes([byte])
        time.sleep(0.2)


def flood(start: bytes, part: bytes) -> Iterator[bytes]:
    return itertools.chain([start], itertools.repeat(part))


LATE = f"no answer within {TIMEOUT} s"
LARGE = "is not Triton's HTTP service: an answer of more than 64 MiB"

ENDLESS: dict[str, tuple[Callable[[], Iterable[bytes]], str]] = {
    "a byte of the body now and then": (
        lambda: itertools.chain([OK + b"Content-Length: 900\r\n\r\n"], dripping(900 * b"x")), LATE,
    ),
    "a byte of the head now and then": (lambda: dripping(OK + 900 * b"x"), LATE),
    "a header now and then": (lambda: itertools.chain([OK], dripping(900 * b"a")), LATE),
    "chunks now and then": (lambda: itertools.chain([CHUNKED], dripping(300 * b"1\r\nx\r\n")), LATE),
    "a part, and then nothing": (lambda: [OK + b"Content-Length: 9\r\n\r\nx"], LATE),
    "headers without a pause": (lambda: flood(OK, b"a: b\r\n"), "got more than 100 headers"),
    "one header without a pause": (lambda: flood(OK + b"a: ", KIB), "LineTooLong"),
    "a first line without a pause": (lambda: flood(b"HTTP/1.1 200 ", KIB), "LineTooLong"),
    "going on without a pause": (lambda: flood(b"", 20 * b"HTTP/1.1 100 Continue\r\n\r\n"), LATE),
    "trailers without a pause": (lambda: flood(CHUNKED + b"0\r\n", 99 * b"a: b\r\n"), LATE),
    "chunks without a pause": (lambda: flood(CHUNKED, b"400\r\n" + KIB + b"\r\n"), LARGE),
    "chunks of a byte without a pause": (lambda: flood(CHUNKED, 200 * b"1\r\nx\r\n"), LATE),
    "a body without a length": (lambda: flood(OK + b"\r\n", 64 * KIB), LARGE),
    "a length over the limit": (lambda: [OK + b"Content-Length: 67108865\r\n\r\nx"], LARGE),
    "a length beyond memory": (lambda: [OK + b"Content-Length: 9" + 15 * b"0" + b"\r\n\r\nx"], LARGE),
    "a chunk beyond memory": (lambda: flood(CHUNKED + 15 * b"f" + b"\r\n", 64 * KIB), LARGE),
    "an error without end": (lambda: flood(b"HTTP/1.1 500 Oh\r\n\r\n", 64 * KIB), LARGE),
}  # fmt: skip
"""What comes, and what is said of it."""


def is_said(kind: str, words: str) -> bool:
    """Where much comes, it is a race between the time and the limit."""
    race = (LATE, LARGE) if "now and then" not in kind else ()
    return any(expected in words for expected in (ENDLESS[kind][1], *race))


@pytest.mark.parametrize("kind", ENDLESS)
def test_questions_to_a_server_end_in_time(run_client, kind):
    with answering(ENDLESS[kind][0]) as url:
        since = time.monotonic()
        done = run_client("latency", f"--url={url}", "--transport=http", f"--timeout={TIMEOUT}")
        assert time.monotonic() - since < 60  # it would be for ever
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    error, _ = done.stderr.splitlines()
    assert is_said(kind, error)


@pytest.mark.parametrize("kind", ENDLESS)
def test_requests_end_in_time(kind):
    with (
        answering(ENDLESS[kind][0]) as url,
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
    assert is_said(kind, str(error))
    assert isinstance(error, RequestTimedOutError) == (LATE in str(error))


@pytest.mark.parametrize("question", ["get_server_metadata", "get_inference_statistics", "load_model", "infer"])
@pytest.mark.parametrize("kind", ["a byte of the body now and then", "going on without a pause"])
def test_a_secured_connection_keeps_the_time_too(certificates, kind, question):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    arguments = {"load_model": ("m",), "infer": ("m", [])}.get(question, ())
    with answering(ENDLESS[kind][0], tls=context) as url:
        endpoint = Endpoint(url, Transport.HTTP, TIMEOUT, Tls(certificates / "authority.pem"))
        with pytest.raises(RequestTimedOutError, match=LATE):
            getattr(HttpControl(endpoint), question)(*arguments)


def test_what_is_large_and_ends_is_taken():
    """An index of 40 MB: the limit is for what has no end."""
    entries = b",".join([b'{"name":"' + 200 * b"n" + b'","version":"1","state":"READY"}'] * 160_000)
    body = b"[" + entries + b"]"
    head = OK + b"Content-Length: %d\r\n\r\n" % len(body)
    with answering(lambda: [head, body]) as url:
        assert len(HttpControl(Endpoint(url, Transport.HTTP)).get_model_repository_index().models) == 160_000
