"""What ONNX models of every shape and data type answer through the real Triton."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
from onnx import TensorProto
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from tests.support import graphs
from tests.support.models import PLATFORM, add_model, tensor
from tests.support.triton import start_server

pytestmark = pytest.mark.triton

DTYPES = {
    "TYPE_BOOL": (TensorProto.BOOL, [[True, False, True]]),
    "TYPE_UINT8": (TensorProto.UINT8, np.array([[0, 7, 255]], np.uint8)),
    "TYPE_UINT16": (TensorProto.UINT16, np.array([[0, 7, 65535]], np.uint16)),
    "TYPE_UINT32": (TensorProto.UINT32, np.array([[0, 7, 2**32 - 1]], np.uint32)),
    "TYPE_UINT64": (TensorProto.UINT64, np.array([[0, 7, 2**64 - 1]], np.uint64)),
    "TYPE_INT8": (TensorProto.INT8, np.array([[-128, 7, 127]], np.int8)),
    "TYPE_INT16": (TensorProto.INT16, np.array([[-(2**15), 7, 1]], np.int16)),
    "TYPE_INT32": (TensorProto.INT32, np.array([[-(2**31), 7, 1]], np.int32)),
    "TYPE_INT64": (TensorProto.INT64, np.array([[-(2**63), 7, 1]], np.int64)),
    "TYPE_FP16": (TensorProto.FLOAT16, np.array([[-0.5, np.inf, 65504]], np.float16)),
    "TYPE_FP32": (TensorProto.FLOAT, np.array([[-0.5, np.inf, 1e38]], np.float32)),
    "TYPE_FP64": (TensorProto.DOUBLE, np.array([[-0.5, np.inf, 1e300]], np.float64)),
    "TYPE_STRING": (TensorProto.STRING, np.array([[b"", "Füchse".encode(), b"x" * 5000]], np.object_)),
}
BATCHING = "max_batch_size: 8\ndynamic_batching { max_queue_delay_microseconds: 50000 }\n"


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    repository = tmp_path_factory.mktemp("answers")

    def add(name, graph, config):
        graph(add_model(repository, name, PLATFORM + config + "instance_group { kind: KIND_CPU count: 1 }\n"))

    for dtype, (element_type, _) in DTYPES.items():
        config = BATCHING + tensor("input", "x", dtype, [3]) + tensor("output", "y", dtype, [3])
        add(dtype, graphs.echo(element_type), config)
    a, b = tensor("input", "a", "TYPE_FP32", [4]), tensor("input", "b", "TYPE_FP32", [4])
    # In another order than in the model: names decide, not positions.
    outputs = tensor("output", "difference", "TYPE_FP32", [4]) + tensor("output", "sum", "TYPE_FP32", [4])
    add("pair", graphs.pair, BATCHING + b + a + outputs)
    add("scalar", graphs.scalar, tensor("input", "x", "TYPE_FP32", [1]) + tensor("output", "y", "TYPE_FP32", [1]))
    square = "data_type: TYPE_FP32 dims: [2, 2] reshape { shape: [4] } }\n"
    add("square", graphs.vector, BATCHING + f'input {{ name: "x" {square}output {{ name: "y" {square}')
    add(
        "plain", graphs.vector, tensor("input", "x", "TYPE_FP32", [-1, 4]) + tensor("output", "y", "TYPE_FP32", [-1, 4])
    )
    scale = 'input { name: "scale" data_type: TYPE_FP32 dims: [1] optional: true }\n'
    add("scaled", graphs.replaceable, tensor("input", "x", "TYPE_FP32", [4]) + scale + tensor("output", "y", "TYPE_FP32", [4]))  # fmt: skip  # noqa: E501
    index = tensor("input", "index", "TYPE_INT64", [1]) + tensor("output", "y", "TYPE_FP32", [1])
    add("lookup", graphs.lookup, BATCHING + index)
    with start_server(repository) as server, grpcclient.InferenceServerClient(server.grpc) as client:
        yield client


def infer(client, model: str, inputs: dict[str, np.ndarray], outputs: list[str] | None = None):
    tensors = []
    for name, array in inputs.items():
        entry = grpcclient.InferInput(name, array.shape, np_to_triton_dtype(array.dtype))
        entry.set_data_from_numpy(array)
        tensors.append(entry)
    requested = None if outputs is None else [grpcclient.InferRequestedOutput(name) for name in outputs]
    return client.infer(model, tensors, outputs=requested)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_data_type_comes_back_unchanged(client, dtype):
    array = np.array(DTYPES[dtype][1])
    answer = infer(client, dtype, {"x": array}).as_numpy("y")
    assert answer.dtype == array.dtype
    np.testing.assert_array_equal(answer, array)


def test_texts_of_several_requests_form_a_batch(client):
    texts = [np.array([[f"{index}".encode(), b"", b"end"]] * (1 + index % 3), np.object_) for index in range(30)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda array: infer(client, "TYPE_STRING", {"x": array}).as_numpy("y"), texts))
    for array, answer in zip(texts, answers, strict=True):
        np.testing.assert_array_equal(answer, array)
    statistics = client.get_inference_statistics("TYPE_STRING").model_stats[0]
    assert statistics.execution_count < statistics.inference_count, "no batch was ever formed, so nothing was tested"


def test_a_text_ends_at_its_first_zero_byte_as_in_the_container(client):
    array = np.array([[b"a\0b", b"\0", b"c"]], np.object_)
    assert infer(client, "TYPE_STRING", {"x": array}).as_numpy("y").tolist() == [[b"a", b"", b"c"]]


def test_bytes_that_are_no_text_are_refused_and_spare_their_neighbours(client):
    good, bad = np.array([[b"a", b"b", b"c"]], np.object_), np.array([[b"a", b"\xff", b"c"]], np.object_)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda array: outcome(client, "TYPE_STRING", {"x": array}), [good, bad] * 8))
    for answer in answers[0::2]:
        np.testing.assert_array_equal(answer, good)
    assert all("element 1 is not UTF-8" in answer for answer in answers[1::2])


def outcome(client, model: str, inputs: dict[str, np.ndarray]):
    """The answer, or the message of the error."""
    try:
        return infer(client, model, inputs).as_numpy("y")
    except InferenceServerException as error:
        return error.message()


def test_one_bad_request_in_a_batch_fails_alone(client):
    before = client.get_inference_statistics("lookup").model_stats[0]
    numbers = [1000 if index % 5 == 2 else index % 10 for index in range(40)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: outcome(client, "lookup", {"index": np.array([[n]], np.int64)}), numbers))
    for number, answer in zip(numbers, answers, strict=True):
        if number == 1000:
            assert "out of" in answer
        else:
            assert answer.tolist() == [[10.0 * number]]
    after = client.get_inference_statistics("lookup").model_stats[0]
    assert after.execution_count - before.execution_count < len(numbers), "no batch was ever formed"


def test_inputs_and_outputs_go_by_name(client):
    a, b = np.full((2, 4), 5, np.float32), np.full((2, 4), 3, np.float32)
    answer = infer(client, "pair", {"b": b, "a": a})
    assert (answer.as_numpy("sum") == 8).all()
    assert (answer.as_numpy("difference") == 2).all()


def test_only_requested_outputs_are_sent(client):
    inputs = {"a": np.ones((1, 4), np.float32), "b": np.ones((1, 4), np.float32)}
    answer = infer(client, "pair", inputs, ["sum"])
    assert [output.name for output in answer.get_response().outputs] == ["sum"]
    with pytest.raises(InferenceServerException, match="unexpected inference output 'product'"):
        infer(client, "pair", inputs, ["product"])


def test_requests_that_want_different_outputs_share_a_batch(client):
    wanted = [["sum"], ["difference"], ["sum", "difference"]] * 10

    def ask(number: int):
        a, b = np.full((1, 4), number, np.float32), np.ones((1, 4), np.float32)
        return infer(client, "pair", {"a": a, "b": b}, wanted[number])

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(len(wanted))))
    for number, answer in enumerate(answers):
        assert {output.name for output in answer.get_response().outputs} == set(wanted[number])
        for name, value in {"sum": number + 1, "difference": number - 1}.items():
            if name in wanted[number]:
                np.testing.assert_array_equal(answer.as_numpy(name), np.full((1, 4), value, np.float32))


def test_inputs_of_two_batch_sizes_are_refused(client):
    inputs = {"a": np.ones((1, 4), np.float32), "b": np.ones((2, 4), np.float32)}
    with pytest.raises(InferenceServerException, match="batch"):
        infer(client, "pair", inputs)


def test_a_model_that_does_not_batch_gets_its_whole_shape(client):
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_array_equal(infer(client, "plain", {"x": array}).as_numpy("y"), 2 * array)


def test_a_scalar_travels_as_a_vector_of_one(client):
    assert infer(client, "scalar", {"x": np.array([21], np.float32)}).as_numpy("y").tolist() == [42]


def test_a_reshaped_tensor_keeps_its_outer_shape(client):
    array = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    np.testing.assert_array_equal(infer(client, "square", {"x": array}).as_numpy("y"), 2 * array)


def test_an_optional_input_may_be_given_or_not(client):
    x = np.ones(4, np.float32)
    assert infer(client, "scaled", {"x": x}).as_numpy("y").tolist() == [3] * 4
    assert infer(client, "scaled", {"x": x, "scale": np.array([7], np.float32)}).as_numpy("y").tolist() == [7] * 4
