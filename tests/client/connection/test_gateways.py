"""What stands between client and Triton and answers in its place: named as what it is, over both transports."""

from __future__ import annotations

import itertools
import json
import ssl
from pathlib import Path

import grpc
import pytest

from client.connection import Control, Endpoint, Tls, Transport, explain
from client.errors import ClientError, RequestFailedError, RequestRejectedError
from tests.client.fake_http import fake_http
from tests.client.fake_triton import Behaviour, fake_triton
from tests.client.http2_server import http2
from tests.client.raw_server import answering

PAGE = b"<html>\r\n<center><h1>no</h1></center>\r\n</html>"
HTML = ("content-type", "text/html")
GRPC = ("content-type", "application/grpc")
NOT_TRITON = "is not Triton's gRPC service: "
PAGES = {
    "a page": ((200, PAGE, HTML), NOT_TRITON + "it answers with a web page"),
    "a page that calls itself gRPC": ((200, PAGE, GRPC), NOT_TRITON + "it answers with a web page"),
    "a redirect": ((302, PAGE, HTML, ("location", "https://login.example/")), NOT_TRITON + "it answers 302 Found"),
    "bad request": ((400, PAGE, HTML), NOT_TRITON + "it answers 400 Bad Request"),
    "who": ((401, PAGE, HTML), "refuses: 401 Unauthorized"),
    "forbidden": ((403, PAGE, HTML), "refuses: 403 Forbidden"),
    "not found": ((404, PAGE, HTML), NOT_TRITON + "it answers 404 Not Found"),
    "not found, nothing": ((404, None, HTML), NOT_TRITON + "it answers 404 Not Found"),
    "too large": ((413, PAGE, HTML), NOT_TRITON + "it answers 413 Request Entity Too Large"),
    "too many": ((429, PAGE, HTML), "takes no more requests now: 429 Too Many Requests"),
    "an error": ((500, PAGE, HTML), NOT_TRITON + "it answers 500 Internal Server Error"),
    "bad gateway": ((502, PAGE, HTML), "answers 502 Bad Gateway: no Triton behind it"),
    "unavailable": ((503, PAGE, HTML), "answers 503 Service Unavailable: no Triton behind it"),
    "gateway timeout": ((504, PAGE, HTML), "answers 504 Gateway Timeout: no Triton behind it"),
    "a status of its own": ((599, PAGE, HTML), NOT_TRITON + "it answers 599"),
    "gRPC's limit": ((200, None, GRPC, ("grpc-status", "8"), ("grpc-message", "slow down")), "requests now: slow down"),
    "gRPC's limit, no word": ((200, None, GRPC, ("grpc-status", "8")), "requests now: RESOURCE_EXHAUSTED"),
    "another service": ((200, None, GRPC, ("grpc-status", "12"), ("grpc-message", "no such method")), NOT_TRITON),
}


@pytest.mark.parametrize("kind", PAGES)
def test_over_grpc_a_gateway_is_named(run_client, kind):
    answer, said = PAGES[kind]
    with http2(*answer) as url:
        done = run_client("latency", f"--url={url}", "--timeout=5")
    assert done.returncode == 1
    error, hint = done.stderr.splitlines()
    assert url in error
    assert said in error
    assert hint.startswith("hint: ")


LIMITS = [
    (Transport.GRPC, "RESOURCE_EXHAUSTED", "Quota exceeded"),
    (Transport.GRPC, "RESOURCE_EXHAUSTED", ""),
    (Transport.GRPC, "UNAVAILABLE", "Received http2 header with status: 429"),
    (Transport.HTTP, "429", ""),
    (Transport.HTTP, "429", "rate limit exceeded"),
]


@pytest.mark.parametrize(("transport", "status", "message"), LIMITS)
def test_a_gateway_s_limit_counts_as_rejected(transport, status, message):
    assert isinstance(explain.explained(Endpoint("127.0.0.1:1", transport), status, message), RequestRejectedError)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ("RESOURCE_EXHAUSTED", "Received message larger than max (196640 vs. 65536)"),
        ("RESOURCE_EXHAUSTED", "CLIENT: Sent message larger than max (5 vs. 4)"),
        ("RESOURCE_EXHAUSTED", "CUDA error: out of memory"),
        ("INTERNAL", "429 is a number"),
    ],
)
def test_what_no_waiting_helps_is_a_failure(status, message):
    error = explain.explained(Endpoint("127.0.0.1:1"), status, message)
    assert isinstance(error, RequestFailedError)
    assert message in str(error)


@pytest.fixture
def gateway():
    """Servers of both transports that refuse every fifth inference."""
    count = itertools.count(1)
    outputs = [{"name": "logits", "datatype": "FP32", "shape": [1, 10], "parameters": {"binary_data_size": 40}}]
    head = json.dumps({"model_name": "m", "model_version": "1", "outputs": outputs}).encode()
    good = 200, head + bytes(40), {"Inference-Header-Content-Length": str(len(head))}
    infer = {"/v2/models/m/versions/1/infer": lambda: good if next(count) % 5 else (429, PAGE)}
    with fake_triton(Behaviour(limit=5)) as grpc_url, fake_http(infer) as http_url:
        yield {"grpc": grpc_url, "http": http_url}


@pytest.mark.parametrize("transport", ["grpc", "http"])
def test_a_run_counts_what_a_gateway_refused(run_client, tmp_path, transport, gateway):
    done = run_client("latency", "--model=m", f"--url={gateway[transport]}", f"--transport={transport}",
                      "--batch-sizes=1", "--rounds=1", "--duration=1", "--output=a.json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    (row,) = json.loads((tmp_path / "a.json").read_text())["rows"]
    assert row["rejected"] > 0
    assert row["failed"] == row["timed_out"] == 0
    assert row["requests"] > 0


def context(certificates: Path, *protocols: str) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    if protocols:
        made.set_alpn_protocols(list(protocols))
    return made


PLAIN_TO_TLS = {
    "closes": [],
    "an alert": [b"\x15\x03\x03\x00\x02\x02\x0a"],
    "nginx": [
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 54\r\n\r\n<html>The plain HTTP request was sent to HTTPS port</h>"
    ],
}


@pytest.mark.parametrize("transport", [Transport.HTTP, Transport.GRPC, Transport.SYSTEM_SHM])
def test_a_port_with_tls_says_so_to_who_has_none(certificates, transport):
    with http2(200, PAGE, tls=context(certificates, "h2")) as url, pytest.raises(ClientError) as raised:
        Control(Endpoint(url, transport, 5))
    assert str(raised.value) == f"no connection to {url}: the server speaks TLS"
    assert raised.value.hint.startswith("--tls-ca FILE")


@pytest.mark.parametrize("kind", PLAIN_TO_TLS)
def test_whatever_a_port_with_tls_answers_to_plain_http(certificates, kind):
    """Each server in its own way; this one speaks TLS to who does."""
    with (
        answering(lambda: PLAIN_TO_TLS[kind], closes=True, tls=context(certificates)) as url,
        pytest.raises(ClientError, match="the server speaks TLS"),
    ):
        Control(Endpoint(url, Transport.HTTP, 5))


@pytest.mark.parametrize("transport", [Transport.HTTP, Transport.GRPC])
def test_a_port_without_tls_says_so_to_who_has_it(certificates, transport):
    tls = Tls(certificates / "authority.pem")
    with fake_triton(Behaviour()) as url, pytest.raises(ClientError, match="the server does not speak TLS"):
        Control(Endpoint(url, transport, 5, tls))


@pytest.mark.parametrize("protocols", [(), ("http/1.1",)], ids=["no ALPN", "HTTP/1 alone"])
def test_grpc_to_a_server_without_alpn_says_so(run_client, certificates, protocols):
    with http2(200, PAGE, tls=context(certificates, *protocols)) as url:
        done = run_client("latency", f"--url={url}", f"--tls-ca={certificates}/authority.pem", "--timeout=5")
    assert done.returncode == 1
    error, hint = done.stderr.splitlines()
    assert f"no connection to {url}: its TLS offers no HTTP/2 (by ALPN)" in error
    assert "must offer h2" in hint


def test_with_alpn_it_is_the_gateway_that_is_named(certificates):
    with (
        http2(502, PAGE, tls=context(certificates, "h2")) as url,
        pytest.raises(ClientError, match="502 Bad Gateway: no Triton behind it"),
    ):
        Control(Endpoint(url, timeout=5, tls=Tls(certificates / "authority.pem")))


def test_another_service_s_messages_are_named():
    """A server whose answers are no messages of the protocol's."""

    class Nonsense(grpc.GenericRpcHandler):
        def service(self, details):
            return grpc.unary_unary_rpc_method_handler(lambda request, context: b"\xff\xff\xff")

    from concurrent.futures import ThreadPoolExecutor

    server = grpc.server(ThreadPoolExecutor(2), handlers=[Nonsense()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with pytest.raises(ClientError, match="is not Triton's gRPC service: a gRPC server with other messages"):
            Control(Endpoint(f"127.0.0.1:{port}", timeout=5))
    finally:
        server.stop(None)
