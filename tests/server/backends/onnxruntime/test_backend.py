"""What the Python-based backend answers, over gRPC, through the real Triton."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime
import pytest
import tritonclient.grpc as grpcclient
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

pytestmark = pytest.mark.triton


@pytest.fixture(scope="module")
def client(served):
    with grpcclient.InferenceServerClient(served.grpc) as client:
        yield client


def infer(client, model: str, name: str, array: np.ndarray, output: str, **options):
    tensor = grpcclient.InferInput(name, array.shape, np_to_triton_dtype(array.dtype))
    tensor.set_data_from_numpy(array)
    requested = grpcclient.InferRequestedOutput(output, **options)
    return client.infer(model, [tensor], outputs=[requested]).as_numpy(output)


@pytest.mark.parametrize("size", [1, 7, 64])
def test_answers_are_bit_for_bit_those_of_onnx_runtime(client, repository, size):
    session = onnxruntime.InferenceSession(repository / "convolution/1/model.onnx", providers=["CPUExecutionProvider"])
    x = np.random.default_rng(size).normal(size=(size, 3, 32, 32)).astype(np.float32)
    assert np.array_equal(infer(client, "convolution", "x", x, "y"), session.run(["y"], {"x": x})[0])


def test_requests_of_mixed_sizes_each_get_their_own_answer(client):
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(rng.integers(1, 6), 5)).astype(np.float32) for _ in range(300)]
    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda array: infer(client, "doubler", "x", array, "y"), arrays))
    for array, answer in zip(arrays, answers, strict=True):
        np.testing.assert_array_equal(answer, 2 * array)
    statistics = client.get_inference_statistics("doubler").model_stats[0]
    assert statistics.execution_count < statistics.inference_count, "no batch was ever formed, so nothing was tested"


def test_requests_of_other_lengths_do_not_disturb_a_batch(client):
    arrays = [np.full((2, 1 + index % 4), index, np.float32) for index in range(60)]
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda array: infer(client, "doubler", "x", array, "y"), arrays))
    for array, answer in zip(arrays, answers, strict=True):
        np.testing.assert_array_equal(answer, 2 * array)


def test_classification_extension_names_the_classes(client):
    images = np.zeros((2, 32, 32, 3), np.uint8)
    images[:, 0, 0, 0] = [7, 13]
    answer = infer(client, "classifier", "images", images, "logits", class_count=1)
    assert [entry[0].decode() for entry in answer] == ["1.000000:7:horse", "1.000000:3:cat"]


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((1, 32, 32, 3), np.float32), "data-type is .FP32., but model"),
        (np.zeros((1, 32, 32, 4), np.uint8), "unexpected shape"),
        (np.zeros((65, 32, 32, 3), np.uint8), "batch-size must be <= 64"),
    ],
    ids=["dtype", "shape", "batch"],
)
def test_a_wrong_request_is_refused_and_the_next_one_served(client, array, said):
    with pytest.raises(InferenceServerException, match=said):
        infer(client, "classifier", "images", array, "logits")
    answer = infer(client, "classifier", "images", np.full((1, 32, 32, 3), 4, np.uint8), "logits")
    assert answer.argmax() == 4
