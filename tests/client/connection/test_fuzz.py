"""Requests that no good client sends: each gets an error, and the server answers the next good one."""

from __future__ import annotations

import re

import grpc
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2, service_pb2_grpc

CASES = 2500
DTYPES = (
    "BOOL",
    "UINT8",
    "UINT16",
    "INT8",
    "INT32",
    "INT64",
    "FP16",
    "FP32",
    "FP64",
    "BYTES",
    "BF16",
    "",
    "UINT7",
    "☃",
)
CLEAR = {
    grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.ALREADY_EXISTS, grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED,
}  # fmt: skip


def good(count: int = 2) -> service_pb2.ModelInferRequest:
    request = service_pb2.ModelInferRequest(model_name="ninths")
    request.inputs.add(name="images", datatype="UINT8", shape=[count, 32, 32, 3])
    request.outputs.add(name="logits")
    request.raw_input_contents.append(bytes([7]) * (count * 3072))
    return request


def wrong_dtype(draw, request):
    request.inputs[0].datatype = draw(st.sampled_from([name for name in DTYPES if name != "UINT8"]))


def wrong_shape(draw, request):
    sizes = st.integers(-(2**40), 2**40)
    shape = draw(st.lists(st.one_of(st.sampled_from([0, 1, 3, 32, 64]), sizes), max_size=6))
    if shape == [2, 32, 32, 3]:
        shape = []
    del request.inputs[0].shape[:]
    request.inputs[0].shape.extend(shape)


def wrong_length(draw, request):
    length = draw(st.one_of(st.integers(0, 6143), st.integers(6145, 20_000)))
    request.raw_input_contents[0] = bytes(length)


def empty_batch(draw, request):
    request.inputs[0].shape[0] = 0
    request.raw_input_contents[0] = b""


def oversized_batch(draw, request):
    count = draw(st.integers(65, 400))
    request.inputs[0].shape[0] = count
    request.raw_input_contents[0] = bytes(count * 3072)


def wrong_input_name(draw, request):
    request.inputs[0].name = draw(st.text(max_size=20).filter(lambda name: name != "images"))


def wrong_output_name(draw, request):
    request.outputs[0].name = draw(st.text(max_size=20).filter(lambda name: name != "logits"))


def wrong_model(draw, request):
    request.model_name = draw(st.text(max_size=30).filter(lambda name: name not in ("classifier", "doubler", "ninths")))


def wrong_version(draw, request):
    # Triton reads the number in front, whatever follows: "1:" is version 1
    request.model_version = draw(st.one_of(st.integers(2, 2**63).map(str), st.text(min_size=1, max_size=8).filter(
        lambda text: not re.match(r"\s*([+-]?0*1(?![0-9])|$)", text))))  # fmt: skip


def no_input(draw, request):
    del request.inputs[:]
    if draw(st.booleans()):
        del request.raw_input_contents[:]


def repeated_input(draw, request):
    for _ in range(draw(st.integers(1, 3))):
        request.inputs.append(request.inputs[0])
        request.raw_input_contents.append(request.raw_input_contents[0])


def unknown_region(draw, request):
    del request.raw_input_contents[:]
    parameters = request.inputs[0].parameters
    parameters["shared_memory_region"].string_param = draw(st.text(max_size=20))
    parameters["shared_memory_byte_size"].int64_param = draw(st.integers(-(2**62), 2**62))


def truncated_region(draw, request):
    """The region that the test registered holds one image; two do not fit, wherever they begin."""
    del request.raw_input_contents[:]
    parameters = request.inputs[0].parameters
    parameters["shared_memory_region"].string_param = "one_image"
    parameters["shared_memory_byte_size"].int64_param = 6144
    parameters["shared_memory_offset"].int64_param = draw(st.integers(0, 10_000))


def truncated_output_region(draw, request):
    parameters = request.outputs[0].parameters
    parameters["shared_memory_region"].string_param = "one_image"
    parameters["shared_memory_byte_size"].int64_param = draw(st.integers(1, 79))


MUTATIONS = (
    wrong_dtype, wrong_shape, wrong_length, empty_batch, oversized_batch, wrong_input_name, wrong_output_name,
    wrong_model, wrong_version, no_input, repeated_input, unknown_region, truncated_region, truncated_output_region,
)  # fmt: skip


@st.composite
def bad_requests(draw):
    request = good()
    mutation = draw(st.sampled_from(MUTATIONS))
    mutation(draw, request)
    return mutation.__name__, request


@pytest.fixture
def stub(served):
    from tritonclient.utils import shared_memory

    region = shared_memory.create_shared_memory_region("one_image", "fuzz_one_image", 3072)
    with grpc.insecure_channel(served.grpc, [("grpc.enable_http_proxy", 0)]) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        stub.SystemSharedMemoryRegister(
            service_pb2.SystemSharedMemoryRegisterRequest(name="one_image", key="/fuzz_one_image", byte_size=3072)
        )
        yield stub
        stub.SystemSharedMemoryUnregister(service_pb2.SystemSharedMemoryUnregisterRequest(name="one_image"))
    shared_memory.destroy_shared_memory_region(region)


@pytest.mark.triton
@pytest.mark.slow
def test_a_bad_request_gets_an_error_and_the_next_good_one_an_answer(stub):
    seen = {}

    @settings(max_examples=CASES, deadline=None, database=None, derandomize=True,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(bad_requests())
    def attempt(case):
        name, request = case
        with pytest.raises(grpc.RpcError) as refused:
            stub.ModelInfer(request, timeout=20)
        assert refused.value.code() in CLEAR, f"{name}: {refused.value}"
        assert refused.value.details()
        answer = stub.ModelInfer(good(), timeout=20)
        logits = np.frombuffer(answer.raw_output_contents[0], np.float32).reshape(2, 10)
        assert logits.argmax(axis=1).tolist() == [7, 7]
        seen[name] = seen.get(name, 0) + 1

    attempt()
    assert set(seen) == {mutation.__name__ for mutation in MUTATIONS}
    assert sum(seen.values()) >= 2000, seen


@pytest.mark.triton
@settings(max_examples=50, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from([float("nan"), float("inf"), -float("inf"), 0.0, 3.4e38]), min_size=1, max_size=8))
def test_nan_and_infinity_are_numbers_like_others(served, values):
    request = service_pb2.ModelInferRequest(model_name="doubler")
    request.inputs.add(name="x", datatype="FP32", shape=[1, len(values)])
    sent = np.array(values, np.float32)
    request.raw_input_contents.append(sent.tobytes())
    with grpc.insecure_channel(served.grpc, [("grpc.enable_http_proxy", 0)]) as channel:
        answer = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=20)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(np.frombuffer(answer.raw_output_contents[0], np.float32), 2 * sent)
