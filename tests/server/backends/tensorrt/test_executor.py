"""Buffers, padding, profiles and CUDA graphs, with the host in the GPU's place."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.server.backends.tensorrt.test_decisions import described
from tests.support.fake_gpu import FakeEngine, FakeGpu, answers

IMAGES = np.random.default_rng(1).integers(0, 255, (256, 32, 32, 3), np.uint8)
SPECS = [{"batch_size": size, "input": {"images": {"dim": [32, 32, 3]}}} for size in (1, 8)]
CONFIG = {
    "max_batch_size": 32,
    "input": [{"name": "images", "data_type": "TYPE_UINT8", "dims": [32, 32, 3]}],
    "output": [{"name": "logits", "data_type": "TYPE_FP32", "dims": [10]}],
    "optimization": {"cuda": {"graphs": True, "graph_spec": SPECS}},
}


@pytest.fixture
def make(backend):
    def make(config=CONFIG, engine="base", gpu=None, profiles=(0,), **changes):
        gpu = gpu or FakeGpu()
        facts = described(backend("engine_facts"), engine)
        config = {**config, **changes}
        executor = backend("plan_executor").PlanExecutor(gpu, FakeEngine(gpu), facts, profiles, config, lambda: None)
        executor.prepared = executor.prepare(backend("graph_specs").graph_specs(config))
        return executor

    return make


def parts(*sizes: int, start: int = 0) -> list[dict[str, np.ndarray]]:
    """Requests of these sizes, each with images of its own."""
    found = []
    for size in sizes:
        found.append({"images": IMAGES[np.arange(start, start + size) % len(IMAGES)]})
        start += size
    return found


def check(executor, *sizes: int, start: int = 0) -> None:
    requests = parts(*sizes, start=start)
    found = executor.run(requests, sum(sizes))["logits"]
    np.testing.assert_allclose(found, answers(np.concatenate([each["images"] for each in requests])), rtol=1e-5)


@pytest.mark.parametrize("sizes", [(1,), (2, 3), (5,), (8,), (1, 1, 1), (7, 9), (32,), (20, 12)])
def test_requests_together_are_answered_each_with_its_own(make, sizes):
    executor = make()
    for number in range(6):
        check(executor, *sizes, start=13 * number)


def test_a_batch_is_padded_with_zeros_to_a_prepared_size(make, monkeypatch):
    executor = make()
    assert executor.prepared.sizes == [1, 2, 4, 8, 16, 32]
    check(executor, 32)
    check(executor, 32)  # both sets of buffers are full of another batch now
    seen = []
    for buffers in executor._sets:
        start = buffers.start
        monkeypatch.setattr(
            buffers,
            "start",
            lambda *given, buffers=buffers, start=start, **more: (
                seen.append((given[0].shapes["images"], buffers._buffers["images"].pinned.copy())),
                start(*given, **more),
            ),
        )
    check(executor, 5)
    (shape, pinned) = seen[0]
    assert shape == (8, 32, 32, 3)
    row = 32 * 32 * 3
    assert not pinned[5 * row : 8 * row].any()


def test_graphs_answer_where_there_is_one(make):
    executor = make()
    assert executor.prepared.graphs == [1, 8]
    before = executor.gpu.launched
    check(executor, 1)
    check(executor, 3, 4)  # padded to 8
    check(executor, 2)
    assert executor.gpu.launched == before + 2


def test_a_graph_that_cannot_be_captured_is_done_without(make):
    gpu = FakeGpu()
    gpu.broken = "operation not permitted when stream is capturing"
    executor = make(gpu=gpu)
    assert executor.prepared.graphs == []
    assert gpu.broken in executor.prepared.lines[0]
    check(executor, 8)


def test_a_graph_that_answers_otherwise_is_done_without(make, monkeypatch):
    gpu = FakeGpu()
    monkeypatch.setattr(gpu, "launch", lambda graph, stream: None)
    executor = make(gpu=gpu)
    assert executor.prepared.graphs == []
    assert "answers otherwise than without" in executor.prepared.lines[0]
    check(executor, 1)


def test_a_batch_outside_the_profile_is_refused_and_the_next_is_answered(make):
    executor = make(engine="min8")
    for _ in range(4):
        with pytest.raises(ValueError, match="dimension 0 must lie between 8 and 256, found 3"):
            executor.run(parts(3), 3)
    check(executor, 9)


def test_two_profiles_share_the_batches(make):
    executor = make(engine="p2d", profiles=(0, 1), max_batch_size=256)
    assert executor.sizes == [1, 2, 4, 8, 16, 32, 64, 128, 256]
    for size in (1, 32, 33, 64, 200, 256):
        check(executor, size)


def test_batches_in_flight_keep_their_buffers(make):
    executor = make()
    first = executor.start(parts(4), 4)
    second = executor.start(parts(4, start=50), 4)
    np.testing.assert_allclose(first.wait()["logits"], answers(IMAGES[:4]), rtol=1e-5)
    np.testing.assert_allclose(second.wait()["logits"], answers(IMAGES[50:54]), rtol=1e-5)
    first.done()
    second.done()


def test_many_threads_each_get_their_own_answers(make):
    executor = make()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: check(executor, 1 + number % 9, start=7 * number), range(200)))


def test_a_model_that_does_not_batch_takes_whole_tensors(make):
    dims = {"input": [{**CONFIG["input"][0], "dims": [-1, 32, 32, 3]}]}
    executor = make(max_batch_size=0, optimization={}, **dims)
    found = executor.run(parts(5), None)["logits"]
    np.testing.assert_allclose(found, answers(IMAGES[:5]), rtol=1e-5)
