"""The production overlay on a real engine: what each kind of client is answered, in the words that a user reads."""

from __future__ import annotations

import os
import re
import signal
import subprocess

import numpy as np
import pytest

from client.connection import Connection, Endpoint, Tls, Transport
from client.errors import ClientError
from tests.support.containers import DOCKER, docker, up
from tests.support.triton import wait_for

pytestmark = [pytest.mark.triton, pytest.mark.slow]
NGINX = "nginxinc/nginx-unprivileged:1.28"


@pytest.fixture(scope="module")
def served(image, repository, secrets):
    if "PROXY_IMAGE" not in os.environ:
        docker("pull", "--quiet", NGINX, check=False)
        if not docker("images", "--quiet", NGINX):
            pytest.skip(f"{NGINX} cannot be pulled, and PROXY_IMAGE names no other one")
    with up(repository, "compose.production.yaml", SECRETS=str(secrets)) as project:
        yield project


def infer(connection, images=None):
    images = np.zeros((1, 32, 32, 3), np.uint8) if images is None else images
    model = connection.control.model("resnet18_onnx")
    return connection.infer(connection.prepare(model, images))


def oversized(connection):
    return infer(connection, np.zeros((400, 32, 32, 3), np.uint8))


def call(function, *arguments):
    return lambda connection: connection.control.call(function, *arguments)


def shared_memory(connection):
    connection.reserve(1, 1)
    return infer(connection)


GRPC, HTTP, SHM = Transport.GRPC, Transport.HTTP, Transport.SYSTEM_SHM
STATISTICS = call("get_inference_statistics")
INDEX = call("get_model_repository_index")
GOOD = {"ca": "server-ca", "certificate": "client"}
GRPC_KEY, HTTP_KEY = "triton-grpc-protocol-admin-key", "admin-key"
RESTRICTED = f"refuses: This protocol is restricted, expecting header '{GRPC_KEY}'"
RESTRICTED_HTTP = f"refuses: This API is restricted, expecting header '{HTTP_KEY}'"
CLOSES = "the server closes the connection: it does not accept the certificate in"
UNKNOWN = "the server's certificate is not accepted: unable to get local issuer"

# what is tried: (transport, certificates, key, what is asked, the words of the outcome; None is an answer)
ATTEMPTS = {
    "gRPC, good certificate": (GRPC, GOOD, None, infer, None),
    "gRPC, plain text": (GRPC, {}, None, infer, "the server speaks TLS; --tls-ca FILE names"),
    "gRPC, no certificate": (
        GRPC,
        {"ca": "server-ca"},
        None,
        infer,
        "asks for a client's certificate; --tls-cert FILE",
    ),
    "gRPC, expired certificate": (
        GRPC,
        GOOD | {"certificate": "expired"},
        None,
        infer,
        f"{CLOSES} *; it may have expired",
    ),
    "gRPC, wrong authority's certificate": (GRPC, GOOD | {"certificate": "stranger"}, None, infer, f"{CLOSES} *"),
    "gRPC, server of an unknown authority": (
        GRPC,
        GOOD | {"ca": "wrong-ca"},
        None,
        infer,
        f"{UNKNOWN} certificate; is --tls-ca its authority",
    ),
    "gRPC, statistics without key": (
        GRPC,
        GOOD,
        None,
        STATISTICS,
        f"{RESTRICTED}; its key goes into --header {GRPC_KEY}:KEY",
    ),
    "gRPC, statistics with a wrong key": (GRPC, GOOD, "wrong", STATISTICS, RESTRICTED),
    "gRPC, statistics with the key": (GRPC, GOOD, "right", STATISTICS, None),
    "gRPC, repository index without key": (GRPC, GOOD, None, INDEX, RESTRICTED),
    "gRPC, loading a model without key": (GRPC, GOOD, None, call("load_model", "resnet18_tensorrt"), RESTRICTED),
    "gRPC, trace settings without key": (GRPC, GOOD, None, call("get_trace_settings"), RESTRICTED),
    "gRPC, log settings without key": (GRPC, GOOD, None, call("get_log_settings"), RESTRICTED),
    "client shared memory without key": (SHM, GOOD, None, shared_memory, RESTRICTED),
    "client shared memory with the key": (SHM, GOOD, "right", shared_memory, "Unable to open shared memory region"),
    "gRPC, 400 images in a request": (GRPC, GOOD, None, oversized, "batch-size must be <= 64 for 'resnet18_onnx'"),
    "HTTP, good certificate": (HTTP, GOOD, None, infer, None),
    "HTTP, plain text": (HTTP, {}, None, infer, "the server speaks TLS; --tls-ca FILE names"),
    "HTTP, no certificate": (
        HTTP,
        {"ca": "server-ca"},
        None,
        infer,
        "refuses: a client certificate is required; --tls-cert FILE --tls-key FILE",
    ),
    "HTTP, expired certificate": (
        HTTP,
        GOOD | {"certificate": "expired"},
        None,
        infer,
        "the client certificate is not accepted: FAILED:certificate has expired",
    ),
    "HTTP, wrong authority's certificate": (
        HTTP,
        GOOD | {"certificate": "stranger"},
        None,
        infer,
        "the client certificate is not accepted: FAILED:",
    ),
    "HTTP, server of an unknown authority": (HTTP, GOOD | {"ca": "wrong-ca"}, None, infer, UNKNOWN),
    "HTTP, repository index without key": (
        HTTP,
        GOOD,
        None,
        INDEX,
        f"{RESTRICTED_HTTP}; its key goes into --header {HTTP_KEY}:KEY",
    ),
    "HTTP, repository index with the key": (HTTP, GOOD, "right", INDEX, None),
    "HTTP, 1.2 MB in a request": (HTTP, GOOD, None, oversized, "the request is larger than 1 MB"),
}


def outcome(project, secrets, transport, files, key, ask) -> str | None:
    """What a user reads: the error's line and its hint; None for an answer."""
    headers = ()
    if key:
        secret = (secrets / "admin-key").read_text() if key == "right" else "0" * 64
        headers = ((HTTP_KEY if transport is HTTP else GRPC_KEY, secret),)
    url = project.url("HTTPS_PORT" if transport is HTTP else "GRPC_PORT")
    try:
        own = files.get("certificate")
        pair = (secrets / f"{own}.crt", secrets / f"{own}.key") if own else (None, None)
        tls = Tls(secrets / f"{files['ca']}.crt", *pair) if files else None
        with Connection(Endpoint(url, transport, timeout=20, tls=tls, headers=headers)) as connection:
            ask(connection)
    except ClientError as error:
        return "; ".join(filter(None, (str(error), error.hint)))
    return None


@pytest.mark.parametrize(("transport", "files", "key", "ask", "words"), ATTEMPTS.values(), ids=ATTEMPTS)
def test_each_client_reads_what_it_may_and_why_not(served, secrets, transport, files, key, ask, words):
    found = outcome(served, secrets, transport, files, key, ask)
    if words is None:
        assert found is None
    else:
        assert re.search(re.escape(words).replace(r"\*", r"\S+"), found or "answered"), found


def test_the_answers_through_tls_are_the_images(served, secrets, images):
    tls = Tls(secrets / "server-ca.crt", secrets / "client.crt", secrets / "client.key")
    for transport, port in ((GRPC, "GRPC_PORT"), (HTTP, "HTTPS_PORT")):
        with Connection(Endpoint(served.url(port), transport, tls=tls)) as connection:
            assert infer(connection, images).argmax(axis=1).tolist() == list(range(8))


def test_only_tls_leaves_the_machine(served):
    """Triton's own HTTP is not published at all; metrics are for this machine."""
    ports = served.inspect()["NetworkSettings"]["Ports"]
    assert not ports["8000/tcp"]
    assert [entry["HostIp"] for entry in ports["8002/tcp"]] == ["127.0.0.1"]


def test_the_secrets_are_in_no_environment_and_no_image(served, secrets):
    key = (secrets / "admin-key").read_text()
    for service in ("triton", "proxy"):
        assert key not in str(served.inspect(service))
    assert key in served.inside("tr '\\0' ' ' < /proc/1/cmdline")  # said in README: `ps` in the container shows it


def test_killed_it_comes_back_and_answers(served, secrets):
    before = served.inspect()
    os.kill(before["State"]["Pid"], signal.SIGKILL)
    wait_for(lambda: served.inspect()["RestartCount"] == before["RestartCount"] + 1 and served.is_healthy(), 90)
    assert outcome(served, secrets, GRPC, GOOD, None, infer) is None
    assert outcome(served, secrets, HTTP, GOOD, None, infer) is None


@pytest.mark.parametrize(
    ("key", "words"),
    [("", "admin_key is missing or empty"), ("short", "must be 32 or more"), ("a:b=c" * 9, "must be 32 or more")],
)
def test_a_bad_key_is_refused_before_triton_starts(image, tmp_path, key, words):
    files = dict.fromkeys(("server_certificate", "server_key", "client_authority"), "x") | {"admin_key": key}
    tmp_path.chmod(0o755)
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    script = DOCKER / "production" / "entrypoint.sh"
    mounts = ("--volume", f"{tmp_path}:/run/secrets:ro", "--volume", f"{script}:/entrypoint.sh:ro")
    run = ["docker", "run", "--rm", "--user", "0", *mounts, image, "bash", "/entrypoint.sh", "tritonserver"]
    done = subprocess.run(run, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert words in done.stderr
