from __future__ import annotations

import urllib.request

import pytest

from server.errors import ServerError
from server.selection.models import select_models
from tests.support.models import add_doubler, add_model, tensor
from tests.support.triton import start_server

IO = tensor("input", "x", "TYPE_FP32", [1]) + tensor("output", "y", "TYPE_FP32", [1])
ONNX = f'platform: "onnxruntime_onnx" {IO}'
PLAN = 'platform: "tensorrt_plan"'


@pytest.fixture
def two(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    return tmp_path / "one", tmp_path / "other"


def test_models_of_all_repositories_are_served(two):
    add_model(two[0], "a", ONNX)
    add_model(two[0], "left", PLAN)
    add_model(two[1], "b", ONNX)
    selection = select_models(two)
    assert selection.served == ("a", "b")
    assert set(selection.left_out) == {"left"}
    assert select_models(two, ["b"]).served == ("b",)


@pytest.mark.parametrize("config", [PLAN, None], ids=["nothing for this machine", "empty"])
def test_a_repository_of_which_nothing_can_be_served_does_not_keep_the_others_from_it(two, config):
    add_model(two[0], "a", ONNX)
    if config:
        add_model(two[1], "plan", config)
    selection = select_models(two)
    assert selection.served == ("a",)
    assert set(selection.left_out) == ({"plan"} if config else set())


def test_nothing_in_any_of_them_is_an_error_that_names_all(two):
    add_model(two[0], "first", PLAN)
    add_model(two[1], "second", PLAN)
    with pytest.raises(ServerError, match=r"first: the embedded server has no .*second: the embedded"):
        select_models(two)


def test_a_name_in_two_repositories_is_refused_and_both_are_named(two):
    for repository in two:
        add_model(repository, "twin", ONNX)
    with pytest.raises(ServerError, match="both hold a model 'twin'") as error:
        select_models(two)
    assert all(str(repository) in str(error.value) for repository in two)


def test_a_wanted_model_must_lie_in_one_of_them_and_be_servable(two):
    add_model(two[0], "a", ONNX)
    add_model(two[1], "plan", PLAN)
    with pytest.raises(ServerError, match="hold no model 'typo'") as error:
        select_models(two, ["typo"])
    assert "they hold: a, plan" in error.value.hint
    with pytest.raises(ServerError, match="no tensorrt backend"):
        select_models(two, ["a", "plan"])


def test_a_repository_that_is_missing_is_an_error_all_the_same(two, tmp_path):
    add_model(two[0], "a", ONNX)
    with pytest.raises(ServerError, match="no model repository"):
        select_models((two[0], tmp_path / "missing"))


def test_a_broken_configuration_is_left_out_all_the_same(two):
    add_model(two[0], "a", ONNX)
    add_model(two[1], "bad", "no_such_field: 1")
    selection = select_models(two)
    assert selection.served == ("a",)
    assert "is not a Triton model configuration" in selection.left_out["bad"]


def test_an_ensemble_finds_its_steps_in_another_repository(two):
    add_model(two[0], "a", ONNX)
    step = 'ensemble_scheduling { step { model_name: "a" model_version: -1 } }'
    add_model(two[1], "around", f'platform: "ensemble" {step} {IO}')
    assert select_models(two).served == ("a", "around")


@pytest.mark.triton
def test_the_real_server_serves_models_of_both(two, tmp_path):
    add_doubler(two[0], "first")
    add_doubler(two[1], "second")
    add_model(two[1], "plan", PLAN)
    with start_server(two[0], f"--repository={two[1]}") as server:
        assert set(server.models) == {"first", "second"}
        for model in server.models:
            with urllib.request.urlopen(f"http://{server.http}/v2/models/{model}/ready", timeout=5) as response:
                assert response.status == 200
