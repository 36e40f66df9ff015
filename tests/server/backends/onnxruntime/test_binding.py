"""Buffers that stay: what a GPU instance does, here with ONNX Runtime's CPU provider and its memory as the device."""

from __future__ import annotations

import ctypes
import functools

import numpy as np
import onnxruntime
import pytest

from tests.support import graphs


class HostMemory:
    """Plain copies: the host's memory is the device."""

    name, device = "cpu", 0

    def begin(self) -> None: ...

    def end(self) -> None: ...

    def copy(self, target: int, source: int, size: int) -> None:
        ctypes.memmove(target, source, size)

    def clear(self, target: int, size: int) -> None:
        ctypes.memset(target, 0, size)


@pytest.fixture
def make(backend, tmp_path):
    def make(graph, sizes=(1, 4, 8), *, graphs=False):
        path = graph(tmp_path / "model.onnx")
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        another = functools.partial(onnxruntime.InferenceSession, path, providers=["CPUExecutionProvider"])
        executor = backend("binding").BoundExecutor(session, HostMemory(), sizes, {}, another if graphs else None)
        ran = []
        run = session.run_with_iobinding

        def note(binding, options):
            ran.append([value.shape()[0] for value in bound_inputs(executor, binding)])
            run(binding, options)

        session.run_with_iobinding = note
        return executor, ran

    return make


def bound_inputs(executor, binding):
    bound = next(bound for bound in executor._bound.values() if bound.binding is binding)
    return bound.inputs.values()


def requests(*lengths: int) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(sum(lengths))
    return [{"x": rng.normal(size=(length, 4)).astype(np.float32)} for length in lengths]


@pytest.mark.parametrize("graphs_wanted", [False, True])
@pytest.mark.parametrize("lengths", [(1,), (3,), (1, 1, 1), (2, 5, 1), (9,), (8, 8)])
def test_requests_are_joined_in_order_and_padding_is_cut_off(make, lengths, graphs_wanted):
    executor, _ = make(graphs.vector, graphs=graphs_wanted)
    parts = requests(*lengths)
    for _ in range(2):
        answer = executor.run(["y"], parts)["y"]
        np.testing.assert_array_equal(answer, 2 * np.concatenate([part["x"] for part in parts]))


def test_only_prepared_sizes_are_run_and_beyond_them_the_size_itself(make):
    executor, ran = make(graphs.vector)
    for lengths in ((1,), (2,), (1, 2), (4,), (5,), (3, 5), (9,)):
        executor.run(["y"], requests(*lengths))
    assert ran == [[1], [4], [4], [4], [8], [8], [9]]


def test_what_an_earlier_batch_left_in_the_padding_does_no_harm(make):
    executor, _ = make(graphs.lookup)
    with pytest.raises(Exception, match="out of"):
        executor.run(["y"], [{"index": np.full((4, 1), 1000, np.int64)}])
    assert executor.run(["y"], [{"index": np.full((2, 1), 3, np.int64)}])["y"].tolist() == [[30], [30]]


def test_answers_outlive_the_next_batch(make):
    executor, _ = make(graphs.vector, graphs=True)
    first, second = requests(4), requests(3)
    answer = executor.run(["y"], first)["y"]
    executor.run(["y"], second)
    np.testing.assert_array_equal(answer, 2 * first[0]["x"])


def test_shapes_beside_the_batch_have_buffers_of_their_own(make):
    executor, _ = make(graphs.any_length, graphs=True)
    for length in (3, 5, 3, 200):
        x = np.full((2, length), length, np.float32)
        np.testing.assert_array_equal(executor.run(["y"], [{"x": x}])["y"], 2 * x)


def test_buffers_are_not_kept_for_ever(make, backend):
    executor, _ = make(graphs.any_length)
    for length in range(1, 2 * backend("binding").KEPT):
        executor.run(["y"], [{"x": np.ones((1, length), np.float32)}])
    assert len(executor._bound) == backend("binding").KEPT


def test_a_size_met_for_the_first_time_is_run_until_its_graph_is_captured(make, backend):
    executor, ran = make(graphs.vector, graphs=True)
    for lengths in ((3,), (4,), (5,), (2,)):
        executor.run(["y"], requests(*lengths))
    captured, replayed = backend("binding")._CAPTURED_AFTER + 1, 1
    assert [size for (size,) in ran] == [4] * (captured + 2 * replayed) + [8] * (captured + replayed) + [4] * replayed


def refused(_bound):
    raise RuntimeError("operation not permitted when stream is capturing")


def zeroed(bound):
    (value,) = bound.outputs.values()
    ctypes.memset(value.data_ptr(), 0, value.tensor_size_in_bytes())


@pytest.mark.parametrize("fail", [refused, zeroed])
def test_a_model_that_cannot_be_captured_goes_on_without_graphs(make, fail):
    executor, ran = make(graphs.vector, graphs=True)
    session, run = executor._session, executor._session.run_with_iobinding

    def capture_badly(binding, options):
        run(binding, options)
        if len(ran) >= 3:
            fail(next(bound for bound in executor._bound.values() if bound.binding is binding))

    session.run_with_iobinding = capture_badly
    for lengths in ((3,), (3,), (8,)):
        parts = requests(*lengths)
        np.testing.assert_array_equal(executor.run(["y"], parts)["y"], 2 * parts[0]["x"])
    assert executor._session is not session, "a failed capture may leave its session unusable"
    assert len(ran) <= 4, "nothing runs on it afterwards"


def test_only_the_outputs_wanted_are_run_for(make):
    executor, _ = make(graphs.pair)
    inputs = [{"a": np.full((2, 4), 5, np.float32), "b": np.ones((2, 4), np.float32)}]
    assert {name: float(array[0, 0]) for name, array in executor.run(["difference"], inputs).items()} == {
        "difference": 4
    }
    assert executor.run(["sum", "difference"], inputs)["sum"].tolist() == [[6] * 4] * 2


def test_a_tensor_that_lies_elsewhere_is_read_where_it_lies(make, backend):
    executor, _ = make(graphs.vector)
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    there = backend("gpu_memory").DeviceArray(x.__dlpack__())
    assert (there.shape, there.dtype, there.nbytes, there.address) == ((2, 4), np.float32, 32, x.ctypes.data)
    answer = executor.run(["y"], [{"x": there}, {"x": x}])["y"]
    np.testing.assert_array_equal(answer, 2 * np.concatenate([x, x]))


@pytest.mark.parametrize(
    ("config", "sizes"),
    [
        ({"max_batch_size": 12}, [1, 2, 4, 8, 12]),
        ({"max_batch_size": 8, "dynamic_batching": {"preferred_batch_size": [8]}}, [1, 2, 4, 8]),
        ({"max_batch_size": 8, "model_warmup": [{"batch_size": 1}]}, [1, 2, 4, 8]),
        ({"max_batch_size": 8, "dynamic_batching": {"preferred_batch_size": [4, 8]}}, [4, 8]),
        ({"max_batch_size": 8, "model_warmup": [{"batch_size": 2}, {"batch_size": 1}]}, [1, 2, 8]),
        ({"max_batch_size": 8, "optimization": {"cuda": {"graph_spec": [{"batch_size": 4}, {}]}}}, [4, 8]),
    ],
)
def test_sizes_are_those_that_the_configuration_warms_up_or_prefers(backend, config, sizes):
    assert backend("execution").prepared_sizes(config) == sizes
