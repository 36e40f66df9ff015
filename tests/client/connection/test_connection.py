"""What the client says about a server that misbehaves, and how it proves who it is."""

from __future__ import annotations

import grpc
import numpy as np
import pytest

from tests.client.conftest import write_dataset
from tests.client.fake_http import fake_http
from tests.client.fake_triton import Behaviour, fake_triton


@pytest.fixture
def dataset(tmp_path):
    return write_dataset(tmp_path / "cifar", np.arange(50), np.zeros(50, np.int64))


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        (Behaviour(ready=False), "is not ready"),
        (Behaviour(hang_on="ModelInfer"), "no answer within 1 s"),
        (Behaviour(answers=3), "expected logits of shape [20, 10], found [[3, 10]]"),
        (Behaviour(logit=float("nan")), "50 of 50 answers hold NaN or infinity"),
        (Behaviour(version="2"), "version 1 was asked, and version 2 answered"),
        (Behaviour(fail_after=1), "of 50 images; no result was written"),
        (Behaviour(model_error="no such file"), "does not serve it"),
    ],
    ids=["not ready", "hangs", "wrong shape", "NaN", "another version", "dies", "model failed"],
)
def test_a_misbehaving_server_is_one_clear_line_and_no_result(run_client, dataset, tmp_path, behaviour, said):
    with fake_triton(behaviour) as url:
        done = run_client("accuracy", "--model=classifier", f"--url={url}", f"--data={dataset}", "--timeout=1",
                          "--batch-size=20", "--concurrency=1")  # fmt: skip
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "results").exists() or not list((tmp_path / "results").iterdir())


def test_a_model_that_fails_leaves_the_result_of_the_one_before(run_client, dataset, tmp_path):
    with fake_triton(Behaviour(fail_after=3)) as url:
        done = run_client("accuracy", "--model=one", "--model=two", f"--url={url}", f"--data={dataset}",
                          "--batch-size=20", "--concurrency=1", "--output=a.json")  # fmt: skip
    assert done.returncode == 1
    text = (tmp_path / "a.json").read_text()
    assert '"complete": false' in text
    assert '"name": "one"' in text
    assert '"name": "two"' not in text


def test_headers_are_sent(run_client, dataset):
    behaviour = Behaviour()
    with fake_triton(behaviour) as url:
        done = run_client("accuracy", "--model=classifier", f"--url={url}", f"--data={dataset}",
                          "--header=Authorization: Bearer abc", "--header=x-tenant:7")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert behaviour.headers["authorization"] == "Bearer abc"
    assert behaviour.headers["x-tenant"] == "7"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--tls-ca=authority.pem", "--tls-cert=client.pem", "--tls-key=client.key"], None),
        (["--tls-ca=stranger.pem", "--tls-cert=client.pem", "--tls-key=client.key"], "certificate is not accepted: "),
        (["--tls-ca=authority.pem", "--tls-cert=stranger.pem", "--tls-key=stranger.key"], "does not accept the certif"),
        (
            ["--tls-ca=authority.pem"],
            "the server asks for a client's certificate\nhint: --tls-cert FILE --tls-key FILE",
        ),
        ([], "the server speaks TLS\nhint: --tls-ca FILE"),
    ],
    ids=["known to each other", "unknown server", "unknown client", "nameless client", "no TLS"],
)
def test_tls_works_both_ways_or_says_why_not(run_client, dataset, certificates, options, words):
    read = lambda name: (certificates / name).read_bytes()  # noqa: E731
    credentials = grpc.ssl_server_credentials(
        [(read("server.key"), read("server.pem"))], read("authority.pem"), require_client_auth=True
    )
    named = [option.replace("=", f"={certificates}/") for option in options]
    with fake_triton(Behaviour(), credentials) as url:
        done = run_client("accuracy", "--model=classifier", f"--url={url}", f"--data={dataset}", *named)
    assert done.returncode == (1 if words else 0), done.stderr
    assert "Traceback" not in done.stderr
    assert words is None or words in done.stderr


def test_tls_to_a_server_without_it_says_so(run_client, dataset, certificates):
    with fake_triton(Behaviour()) as url:
        named = (f"--url={url}", f"--data={dataset}", f"--tls-ca={certificates}/authority.pem")
        done = run_client("accuracy", "--model=classifier", *named)
    assert done.returncode == 1
    assert "the server does not speak TLS\nhint: leave out --tls-ca" in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--tls-ca=authority.pem", "--tls-cert=client.pem"], "belong together"),
        (["--tls-ca=names"], "expected PEM files"),
    ],
)
def test_certificates_that_cannot_be_used_are_named(run_client, certificates, options, said):
    named = [option.replace("=", f"={certificates}/") for option in options]
    done = run_client("accuracy", "--model=classifier", *named)
    assert done.returncode == 1
    assert said in done.stderr


@pytest.mark.parametrize(
    ("transport", "timeout"),
    [
        ("grpc", "31536000"),
        ("http", "31536000"),
        ("http", "1e-06"),
    ],  # gRPC looks at its clock too late for that
)
def test_the_longest_and_the_shortest_timeout_mean_what_they_say(run_client, transport, timeout):
    with fake_triton(Behaviour()) as grpc_url, fake_http({}) as http_url:
        url = {"grpc": grpc_url, "http": http_url}[transport]
        done = run_client(
            "reload", f"--url={url}", f"--transport={transport}", f"--timeout={timeout}", "--model=absent"
        )
    assert done.returncode == 1
    said = "has no model 'absent'" if float(timeout) > 1 else "no answer within 1e-06 s"
    assert said in done.stderr.splitlines()[-2]
