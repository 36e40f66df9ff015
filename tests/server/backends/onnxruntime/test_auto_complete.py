"""Configurations that Triton completes from the models, as the container does without complete ones."""

from __future__ import annotations

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
from tritonclient.utils import InferenceServerException

from tests.support import graphs
from tests.support.models import PLATFORM, add_doubler, add_model, tensor
from tests.support.triton import start_server

pytestmark = pytest.mark.triton


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    path = tmp_path_factory.mktemp("incomplete")
    graphs.vector(path / "bare" / "1" / "model.onnx")
    graphs.pair(add_model(path, "larger", PLATFORM + "max_batch_size: 32\n"))
    graphs.vector(add_model(path, "one_by_one", PLATFORM + "max_batch_size: 1\n"))
    graphs.fixed_batch(add_model(path, "fixed", PLATFORM))
    graphs.per_item(add_model(path, "per_item", PLATFORM))
    graphs.fixed_batch(add_model(path, "impossible", PLATFORM + "max_batch_size: 2\n"))
    graphs.vector(add_model(path, "half", PLATFORM + tensor("input", "x", "TYPE_FP32", [4])))
    full = tensor("input", "x", "TYPE_FP32", [-1, -1]) + tensor("output", "y", "TYPE_FP32", [-1, -1])
    add_doubler(path, "complete", config=PLATFORM + full)
    return path


@pytest.fixture(scope="module")
def client(repository):
    with (
        start_server(repository, "--auto-complete-config", "--load=bare") as server,
        grpcclient.InferenceServerClient(server.grpc) as client,
    ):
        yield client


def loaded(client, name: str):
    client.load_model(name)
    return client.get_model_config(name).config


def test_without_any_configuration_a_model_batches_by_four(client):
    config = client.get_model_config("bare").config
    assert (config.platform, config.max_batch_size) == ("onnxruntime_onnx", 4)
    assert [(entry.name, entry.data_type, list(entry.dims)) for entry in config.input] == [("x", 11, [4])]
    assert [(entry.name, entry.data_type, list(entry.dims)) for entry in config.output] == [("y", 11, [4])]
    assert config.HasField("dynamic_batching")
    x = grpcclient.InferInput("x", [3, 4], "FP32")
    x.set_data_from_numpy(np.ones((3, 4), np.float32))
    assert (client.infer("bare", [x]).as_numpy("y") == 2).all()


def test_a_maximum_that_is_given_stays(client):
    config = loaded(client, "larger")
    assert config.max_batch_size == 32
    assert [entry.name for entry in config.input] == ["a", "b"]
    assert [entry.name for entry in config.output] == ["difference", "sum"]
    assert config.HasField("dynamic_batching")


def test_a_maximum_of_one_needs_no_dynamic_batching(client):
    config = loaded(client, "one_by_one")
    assert config.max_batch_size == 1
    assert not config.HasField("dynamic_batching")


def test_a_fixed_batch_does_not_batch(client):
    config = loaded(client, "fixed")
    assert config.max_batch_size == 0
    assert list(config.input[0].dims) == [1, 4]
    assert not config.HasField("dynamic_batching")


def test_nothing_beside_the_batch_becomes_a_one_that_is_reshaped_away(client):
    config = loaded(client, "per_item")
    assert (list(config.input[0].dims), list(config.input[0].reshape.shape)) == ([1], [])
    assert config.input[0].HasField("reshape")
    x = grpcclient.InferInput("x", [2, 1], "FP32")
    x.set_data_from_numpy(np.ones((2, 1), np.float32))
    assert client.infer("per_item", [x]).as_numpy("y").tolist() == [[2], [2]]


def test_a_fixed_batch_with_a_maximum_is_refused(client):
    with pytest.raises(InferenceServerException, match=r"max_batch_size is 2.*'x' does not vary.*\[1, 4\]"):
        loaded(client, "impossible")


def test_what_is_missing_is_added_to_what_is_there(client):
    config = loaded(client, "half")
    assert config.max_batch_size == 4
    assert list(config.output[0].dims) == [4]


def test_a_complete_configuration_is_left_alone(client):
    config = loaded(client, "complete")
    assert config.max_batch_size == 0
    assert not config.HasField("dynamic_batching")


def test_without_the_option_nothing_is_completed(repository):
    with start_server(repository, "--load=complete") as server, grpcclient.InferenceServerClient(server.grpc) as client:
        with pytest.raises(InferenceServerException):
            client.load_model("half")
        assert client.is_model_ready("complete")
