from __future__ import annotations

import pytest

from server.errors import ServerError
from server.models import select_models
from tests.support.models import add_model


def test_a_missing_repository(tmp_path):
    with pytest.raises(ServerError, match="no model repository") as error:
        select_models(tmp_path / "models")
    assert "make build-repo" in error.value.hint


def test_an_empty_repository(tmp_path):
    (tmp_path / "README.md").write_text("files are not models")
    with pytest.raises(ServerError, match="holds no models"):
        select_models(tmp_path)


def test_what_cannot_be_served_is_left_out_with_its_reason(tmp_path, monkeypatch):
    monkeypatch.setattr("server.models._has_gpu", lambda: False)
    add_model(tmp_path, "onnx", 'platform: "onnxruntime_onnx"')
    add_model(tmp_path, "plan", 'platform: "tensorrt_plan"')
    add_model(tmp_path, "backend", 'backend: "tensorrt"')
    add_model(tmp_path, "gpu", 'backend: "onnxruntime" instance_group { kind: KIND_GPU }')
    (tmp_path / "stray").mkdir()
    selection = select_models(tmp_path)
    assert selection.served == ("onnx",)
    assert {name: reason.split()[-2] for name, reason in selection.left_out.items()} == {
        "plan": "tensorrt",
        "backend": "tensorrt",
        "gpu": "NVIDIA",
        "stray": "no",
    }


def test_nothing_that_can_be_served_is_an_error(tmp_path):
    add_model(tmp_path, "plan", 'platform: "tensorrt_plan"')
    with pytest.raises(ServerError, match="plan: the embedded server has no tensorrt backend"):
        select_models(tmp_path)


def test_a_wanted_model_must_exist_and_be_served(tmp_path):
    add_model(tmp_path, "onnx", 'platform: "onnxruntime_onnx"')
    add_model(tmp_path, "plan", 'platform: "tensorrt_plan"')
    assert select_models(tmp_path, ["onnx"]).served == ("onnx",)
    with pytest.raises(ServerError, match="no model 'typo'") as error:
        select_models(tmp_path, ["typo"])
    assert "onnx, plan" in error.value.hint
    with pytest.raises(ServerError, match="no tensorrt backend"):
        select_models(tmp_path, ["onnx", "plan"])


def test_a_configuration_that_does_not_parse_names_file_and_line(tmp_path):
    add_model(tmp_path, "bad", 'platform: "onnxruntime_onnx"\nmax_batchsize: 4\n')
    with pytest.raises(ServerError, match=r"bad/config\.pbtxt .*2:1.*max_batchsize"):
        select_models(tmp_path)


def test_an_onnx_model_needs_no_configuration_where_triton_completes_it(tmp_path):
    (tmp_path / "bare" / "1").mkdir(parents=True)
    (tmp_path / "bare" / "1" / "model.onnx").write_bytes(b"a model")
    add_model(tmp_path, "unnamed", "max_batch_size: 4").write_bytes(b"a model")
    (tmp_path / "stray").mkdir()
    selection = select_models(tmp_path, auto_complete=True)
    assert selection.served == ("bare", "unnamed")
    assert set(selection.left_out) == {"stray"}
    with pytest.raises(ServerError, match=r"bare: it has no config\.pbtxt"):
        select_models(tmp_path)
