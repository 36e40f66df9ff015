"""What speaks JSON where a Triton was expected, and says something else: a clear line, whatever was asked."""

from __future__ import annotations

import contextlib

import pytest

from client.connection import Control, Endpoint, Transport, versions
from client.errors import ClientError, ServerUnreachableError
from tests.client.fake_http import METADATA, MODEL, UNKNOWN, fake_http
from tests.client.fake_triton import Behaviour, fake_triton

CONFIG = "/v2/models/m/versions/1/config"
ASKED = {
    "/v2": (lambda control: control.server(), "ServerMetadataResponse with name and version"),
    "/v2/models/m": (lambda control: control.model("m"), "ModelMetadataResponse with name"),
    CONFIG: (lambda control: control.model("m"), "ModelConfig with name"),
    "/v2/models/stats": (lambda control: control.statistics(), "ModelStatisticsResponse with model_stats"),
    "/v2/repository/index": (lambda control: control.ready_models(), "RepositoryIndexResponse with models"),
}
ANYWHERE = {
    "another object": b'{"a": 1}',
    "nothing": b"",
    "null": b"null",
    "a number": b"7",
    "text": b'"triton"',
    "a list of null": b"[null]",
    "a list of numbers": b"[1, 2]",
    "a list of lists": b"[[]]",
    "entries without a name": b'[{"a": 1}]',
    "not a number": b"NaN",
    "no JSON": b"<html>hello</html>",
    "half of it": b'{"name": "m", "ver',
    "not UTF-8": b'{"name": "\xff"}',
    "deep": 100_000 * b"[",
    "a number without end": b'{"name": ' + 9000 * b"1" + b"}",
    "a name that is a number": b'{"name": 7, "version": "1", "model_stats": 7}',
    "a name that is null": b'{"name": null, "version": null, "model_stats": null}',
    "half a surrogate pair": b'{"name": "\\ud800", "version": "1", "model_stats": "x"}',
}
HERE = {
    ("/v2", "a list"): b"[]",
    ("/v2", "no version"): {"name": "triton"},
    ("/v2", "an empty version"): {**METADATA, "version": ""},
    ("/v2/models/m", "a list"): b"[]",
    ("/v2/models/m", "tensors that are text"): {**MODEL, "inputs": "images"},
    ("/v2/models/m", "tensors that are names"): {**MODEL, "inputs": ["images"]},
    ("/v2/models/m", "sizes that are words"): {**MODEL, "outputs": [{"name": "logits", "shape": ["x"]}]},
    ("/v2/models/m", "sizes beyond 64 bits"): {**MODEL, "outputs": [{"name": "logits", "shape": [2**64]}]},
    (CONFIG, "a list"): b"[]",
    (CONFIG, "a batch size in words"): {"name": "m", "max_batch_size": "many"},
    (CONFIG, "half an image"): {"name": "m", "max_batch_size": 0.5},
    (CONFIG, "warm-ups that are a number"): {"name": "m", "model_warmup": 3},
    (CONFIG, "batching that is a list"): {"name": "m", "dynamic_batching": [1]},
    ("/v2/models/stats", "a list"): b"[]",
    ("/v2/models/stats", "entries without a name"): {"model_stats": [{"version": "1"}]},
    ("/v2/models/stats", "counts in words"): {"model_stats": [{"name": "m", "inference_count": "three"}]},
    ("/v2/models/stats", "times that are a list"): {"model_stats": [{"name": "m", "inference_stats": [1]}]},
    ("/v2/repository/index", "an object around it"): {"models": []},
    ("/v2/repository/index", "a version that is a number"): [{"name": "m", "version": 1}],
    ("/v2/repository/index", "a state that is a list"): [{"name": "m", "state": []}],
}
WRONG = {**{(path, kind): answer for path in ASKED for kind, answer in ANYWHERE.items()}, **HERE}


@pytest.mark.parametrize(("path", "kind"), WRONG, ids=lambda value: value.replace("/", "-").strip("-"))
def test_an_answer_of_another_shape_is_named(path, kind):
    ask, expected = ASKED[path]
    with fake_http({path: WRONG[path, kind]}) as url, pytest.raises(ServerUnreachableError) as raised:
        ask(Control(Endpoint(url, Transport.HTTP, 10)))
    said = str(raised.value)
    assert f"what answers at {url} is not Triton's HTTP service: asked for {path}, expected the JSON of " in said
    assert f"the JSON of {expected}" in said
    assert ", found " in said
    assert len(said) < 400
    assert "is it the right port?" in raised.value.hint


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, ""),
        ({"/v2": {**METADATA, "news": {"of": ["a later release"]}}}, ""),
        ({CONFIG: {"name": "m", "max_batch_size": "64", "later": 1, "instance_group": [{"kind": "KIND_NEW"}]}}, ""),
        ({"/v2/models/stats": {"model_stats": []}}, ""),
        ({"/v2/repository/index": []}, ""),
        ({"/v2/repository/index": 400}, ""),
        ({"/v2/models/m": {**MODEL, "inputs": None}}, "UINT8 [-1, 32, 32, 3], found nothing"),
        ({"/v2/models/m": {**MODEL, "outputs": [{}]}}, "FP32 [-1, 10], found   []"),
        ({"/v2/models/m": (400, UNKNOWN)}, "does not serve it: Request for unknown model"),
        ({"/v2/models/m": 502, "/v2/repository/index": 502}, "answers 502 Bad Gateway: no Triton behind it"),
        ({"/v2/health/ready": 400}, "is not ready"),
        ({"/v2/health/ready": 503}, "is not ready"),
        ({"/v2/health/ready": 502}, "answers 502 Bad Gateway: no Triton behind it"),
        ({"/v2/health/ready": 429}, "takes no more requests now: 429 Too Many Requests"),
        ({"/v2/health/ready": 401}, "refuses: 401 Unauthorized"),
        ({"/v2/health/ready": 302}, "is not Triton's HTTP service: it answers 302 Found"),
    ],
)
def test_what_is_good_is_taken_and_what_is_refused_is_said(changed, said):
    def ask(url: str) -> None:
        with contextlib.closing(Control(Endpoint(url, Transport.HTTP, 10))) as control:
            control.server()
            control.statistics()
            assert control.model("m").max_batch_size == 64

    with fake_http(changed) as url:
        if not said:
            ask(url)
            return
        with pytest.raises(ClientError) as raised:
            ask(url)
    assert said in str(raised.value)


def test_both_transports_say_the_same_of_a_model():
    found = []
    with fake_http({}) as http, fake_triton(Behaviour()) as grpc:
        for endpoint in (Endpoint(http, Transport.HTTP), Endpoint(grpc)):
            control = Control(endpoint)
            model = control.model("m")
            found.append((model, model.max_batch_size, control.configured_sizes(model)))
            control.close()
    assert found[0] == found[1]


def test_a_model_s_state_and_configuration_are_read_from_json():
    with fake_http({}) as url:
        control = Control(Endpoint(url, Transport.HTTP))
        states = versions.states(control)
        assert states["m"].ready == ("1",)
        assert versions.configuration(control, "m", states["m"]).max_batch_size == 64
        assert control.statistics() == [{"name": "m", "version": "1", "inference_count": "3"}]


def test_a_name_that_http_has_to_quote_is_asked_over_grpc():
    with fake_http({"/v2/repository/index": [{"name": "m n", "version": "1", "state": "READY"}]}) as url:
        control = Control(Endpoint(url, Transport.HTTP))
        with pytest.raises(ClientError) as raised:
            control.model("m n")
    assert "names that HTTP has to quote: --transport grpc" in raised.value.hint


@pytest.mark.parametrize("command", ["probe", "reload", "check", "compare"])
@pytest.mark.parametrize("path", [path for path in ASKED if path != "/v2"])
def test_no_command_ends_in_a_traceback(run_client, command, path):
    options = ("--model=m",) if command != "compare" else ()
    with fake_http({path: {"a": 1}}) as url:
        done = run_client(command, f"--url={url}", "--transport=http", "--timeout=5", *options)
    assert "Traceback" not in done.stderr
    if (command, path) == ("probe", "/v2/repository/index"):  # as of a server that keeps its index for others
        return
    assert done.returncode == 1
    assert sum(line.startswith("error: ") for line in done.stderr.splitlines()) == 1, done.stderr
