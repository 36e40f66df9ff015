"""A model's file is served if it is the one that was published, in the real embedded Triton."""

from __future__ import annotations

import hashlib
import json
import os

import numpy as np
import pytest
import tritonclient.grpc as grpcclient

from tests.support.models import add_classifier
from tests.support.triton import run_server, start_server, wait_for


def sha256(path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def promise(model, content) -> None:
    model.with_name("provenance.json").write_text(content if isinstance(content, str) else json.dumps(content))


def as_a_pipe(model) -> None:
    os.mkfifo(model.with_name("provenance.json"))


OTHER = "0" * 64
REFUSED = {
    "changed": (lambda model: promise(model, {"sha256": OTHER}), f"expected SHA-256 {OTHER} (provenance.json), found "),
    "no digest": (lambda model: promise(model, {}), "names no SHA-256: expected 64 hexadecimal digits, found 'None'"),
    "a number": (lambda model: promise(model, {"sha256": 7}), "names no SHA-256"),
    "a list": (lambda model: promise(model, []), "names no SHA-256"),
    "too short": (lambda model: promise(model, {"sha256": "abc"}), "found 'abc'"),
    "empty": (lambda model: promise(model, ""), "provenance.json is not JSON"),
    "cut off": (lambda model: promise(model, '{"sha256": "'), "provenance.json is not JSON"),
    "not text": (lambda model: model.with_name("provenance.json").write_bytes(b"\xff\xfe\xfa"), "is not JSON"),
    "deep": (lambda model: promise(model, "[" * 100_000), "provenance.json is not JSON"),
    "a directory": (lambda model: model.with_name("provenance.json").mkdir(), "provenance.json is not a file"),
    "a pipe": (as_a_pipe, "provenance.json is not a file"),
    "a dead link": (lambda model: model.with_name("provenance.json").symlink_to("gone"), "No such file"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_what_was_published_is_refused_with_a_way_out(case, backend, tmp_path, monkeypatch):
    prepare, said = REFUSED[case]
    model = add_classifier(tmp_path)
    prepare(model)
    check = backend("provenance_check").check_published
    with pytest.raises(ValueError, match="build it anew, or serve it as it is: --allow-changed") as refused:
        check(model)
    assert said in str(refused.value)
    assert str(model) in str(refused.value)
    monkeypatch.setenv("TRITON_ALLOW_CHANGED", "1")
    assert said in check(model)


def test_what_was_published_and_what_nobody_published_are_served(backend, tmp_path, monkeypatch):
    model = add_classifier(tmp_path)
    check = backend("provenance_check").check_published
    assert check(model) == ""
    promise(model, {"model": "of another name", "sha256": sha256(model).upper()})
    assert check(model) == ""
    monkeypatch.setenv("TRITON_ALLOW_CHANGED", "yes")
    with pytest.raises(ValueError, match="TRITON_ALLOW_CHANGED must be 0 or 1, found 'yes'"):
        check(model)


@pytest.mark.triton
def test_a_changed_model_is_left_out_in_one_line_and_served_where_that_is_allowed(tmp_path):
    repository = tmp_path / "the répository"
    for name in ("as_published", "a copy", "changed"):
        model = add_classifier(repository, name)
        promise(model, {"model": "as_published", "sha256": sha256(model) if name != "changed" else OTHER})
    found = sha256(model)
    with start_server(repository) as served:
        assert sorted(served.models) == ["a copy", "as_published"]
        assert f"expected SHA-256 {OTHER} (provenance.json), found {found}" in served.left_out["changed"]
        assert str(model) in served.left_out["changed"]
    result = run_server(f"--repository={repository}", "--load=changed")
    assert result.returncode == 1
    (line,) = [line for line in result.stderr.splitlines() if line.startswith(("error:", "hint:"))]
    assert "build it anew, or serve it as it is: --allow-changed (in a container: TRITON_ALLOW_CHANGED=1)" in line
    with (tmp_path / "said").open("a+") as said, start_server(repository, "--allow-changed", stderr=said) as served:
        assert len(served.models) == 3
        wait_for(lambda: "served as it is" in (tmp_path / "said").read_text(), 30)
        images = np.full((1, 32, 32, 3), 7, np.uint8)
        given = grpcclient.InferInput("images", images.shape, "UINT8")
        given.set_data_from_numpy(images)
        with grpcclient.InferenceServerClient(served.grpc) as client:
            assert client.infer("changed", [given]).as_numpy("logits").argmax() == 7
    warnings = [line for line in (tmp_path / "said").read_text().splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 1, warnings
    assert f"warning: changed: {model} is not the file that was published" in warnings[0]
    assert OTHER in warnings[0]
    assert found in warnings[0]


@pytest.mark.triton
def test_completing_a_configuration_reads_no_changed_model(tmp_path):
    model = add_classifier(tmp_path, "changed")
    (tmp_path / "changed/config.pbtxt").write_text('platform: "onnxruntime_onnx"\n')
    promise(model, {"sha256": OTHER})
    result = run_server(f"--repository={tmp_path}", "--auto-complete-config")
    assert result.returncode == 1
    assert "is not the file that was published" in result.stderr
