"""An ONNX model proves itself before it is ready: in the real embedded Triton, against references right and wrong."""

from __future__ import annotations

import re

import numpy as np
import onnx
import onnxruntime
import pytest
import tritonclient.grpc as grpcclient
from onnx import TensorProto, helper, numpy_helper
from tritonclient.utils import InferenceServerException

from cifar10 import synthetic_images
from tests.support.models import PLATFORM, add_classifier, add_model, save, tensor
from tests.support.references import write_reference
from tests.support.triton import start_server

pytestmark = pytest.mark.triton

IMAGES = synthetic_images(32)
OFF = 'parameters { key: "reference_check" value { string_value: "off" } }\n'


def answers(model) -> np.ndarray:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: IMAGES})[0]


def add_quantised(repository, name: str, config: str = ""):
    """Pixels summed over the image, through a quantised and dequantised sum."""
    text = PLATFORM + "max_batch_size: 64\n" + tensor("input", "images", "TYPE_UINT8", [32, 32, 3])
    path = add_model(repository, name, text + tensor("output", "logits", "TYPE_FP32", [3]) + config)
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["mean"], keepdims=0),
        helper.make_node("QuantizeLinear", ["mean", "scale", "zero"], ["integers"]),
        helper.make_node("DequantizeLinear", ["integers", "scale", "zero"], ["logits"]),
    ]
    constants = {"axes": np.array([1, 2], np.int64), "scale": np.array(1, np.float32), "zero": np.array(0, np.uint8)}
    return save(
        nodes,
        [("images", TensorProto.UINT8, ["batch", 32, 32, 3])],
        [("logits", TensorProto.FLOAT, ["batch", 3])],
        path,
        [numpy_helper.from_array(array, key) for key, array in constants.items()],
    )


def of_another_network(model):
    write_reference(model, IMAGES, np.roll(answers(model), 1, axis=1))


def of_another_model(model):
    write_reference(model, IMAGES, answers(model))
    changed = onnx.load(model)
    changed.producer_name = "changed since"
    onnx.save(changed, model)


def damaged(model):
    write_reference(model, IMAGES, answers(model)).write_bytes(b"PK")


def with_other_images(model):
    write_reference(model, IMAGES[:, :16], answers(model))


ROWS = {
    "right": (add_classifier, "", lambda model: write_reference(model, IMAGES, answers(model)), ""),
    "none": (add_classifier, "", lambda model: None, ""),
    "wrong": (add_classifier, "", of_another_network, "computes something else than the network"),
    "switched_off": (add_classifier, OFF, of_another_network, ""),
    "another_model": (add_classifier, "", of_another_model, "reference of another model"),
    "damaged": (add_classifier, "", damaged, "reference.npz"),
    "other_images": (add_classifier, "", with_other_images, "Got: 16 Expected: 32"),
    "quantised": (add_quantised, "", lambda model: write_reference(model, IMAGES, answers(model)), ""),
    "quantised_off": (add_quantised, OFF, of_another_network, "a quantised model is always held against its reference"),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory) -> dict[str, str]:
    """Model name -> the reason of its refusal; empty where it is served."""
    repository = tmp_path_factory.mktemp("references")
    add_classifier(repository, "present")
    for name, (add, config, write, _) in ROWS.items():
        write(add(repository, name, config=config))
    found = {}
    with start_server(repository, "--load=present") as server, grpcclient.InferenceServerClient(server.grpc) as client:
        for name in ROWS:
            try:
                client.load_model(name)
                found[name] = ""
            except InferenceServerException as error:
                found[name] = error.message()
        assert client.is_model_ready("present")
    return found


@pytest.mark.parametrize("name", ROWS)
def test_a_model_is_ready_only_if_it_computes_its_reference(name, outcomes):
    said = ROWS[name][3]
    assert bool(outcomes[name]) == bool(said), outcomes[name]
    assert re.search(said, outcomes[name])
