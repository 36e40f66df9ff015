"""Which executor an instance gets where its session would capture CUDA graphs; a real session stands in for CUDA's."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest

from tests.support import graphs

CONFIG = {"max_batch_size": 8, "parameters": {}}


class OnCuda:
    """A session of the CPU that says of itself what one on a GPU, with CUDA graphs, says."""

    def __init__(self, session, reads_on_host):
        self._session = session
        self._memory = "Cpu" if reads_on_host else "Cuda"

    def __getattr__(self, name):
        return getattr(self._session, name)

    def get_providers(self):
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    def get_provider_options(self):
        return {"CUDAExecutionProvider": {"enable_cuda_graph": "1"}}

    def get_input_memory_infos(self):
        return [SimpleNamespace(name=self._memory)]


@pytest.fixture
def plain(tmp_path):
    return onnxruntime.InferenceSession(graphs.vector(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])


def test_an_input_read_on_the_host_is_not_frozen_into_a_graph(backend, plain):
    opened = []
    execution = backend("execution")
    executor = execution.make_executor(
        OnCuda(plain, reads_on_host=True), CONFIG, 0, lambda: opened.append(plain) or plain
    )
    assert opened == [plain]
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    np.testing.assert_array_equal(executor.run(["y"], [{"x": x}])["y"], 2 * x)


@pytest.mark.parametrize(("max_batch_size", "bound"), [(8, True), (0, False)])
def test_batches_are_bound_and_whole_tensors_are_never_captured(backend, plain, monkeypatch, max_batch_size, bound):
    execution = backend("execution")
    monkeypatch.setattr(execution, "CudaMemory", lambda device: SimpleNamespace(name="cpu", device=device))
    config = {**CONFIG, "max_batch_size": max_batch_size}
    executor = execution.make_executor(OnCuda(plain, reads_on_host=False), config, 0, pytest.fail)
    assert isinstance(executor, execution.BoundExecutor) is bound
    if not bound:
        assert executor._options.get_run_config_entry(execution.GRAPH_KEY) == execution.NO_GRAPH
