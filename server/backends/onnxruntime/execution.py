"""How an instance runs its batches: from host memory, or bound to its GPU's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import onnxruntime
from batching import Array, Inputs, join
from binding import GRAPH_KEY, NO_GRAPH, NUMPY_TYPES, BoundExecutor
from configuration import prepared_sizes
from gpu_memory import CudaMemory
from parameters import run_settings
from providers import CUDA
from signature import dims_of

Config = Mapping[str, Any]


class HostExecutor:
    """Runs a session on arrays in host memory; on a GPU, ONNX Runtime copies them there and back.

    Args:
        session: the model's.
        settings: entries of each run's options.
    """

    def __init__(self, session: onnxruntime.InferenceSession, settings: Mapping[str, str]) -> None:
        self._session = session
        self._options = onnxruntime.RunOptions()
        for key, value in settings.items():
            self._options.add_run_config_entry(key, value)

    def run(self, names: Sequence[str], parts: Sequence[Inputs]) -> dict[str, Array]:
        """Run one batch.

        Args:
            names: the outputs wanted.
            parts: the inputs of each request; equal but for the batch dimension.

        Returns:
            output name -> array of the whole batch.
        """
        return dict(zip(names, self._session.run(names, join(parts), self._options), strict=True))


def make_executor(
    session: onnxruntime.InferenceSession,
    config: Config,
    device: int,
    without_graphs: Callable[[], onnxruntime.InferenceSession],
) -> HostExecutor | BoundExecutor:
    """Choose: bound to the GPU where the session is on one and the model is made of batches of numbers.

    Args:
        session: the model's.
        config: its configuration.
        device: the GPU's number.
        without_graphs: opens another session, for a model that turns out not to fit into CUDA graphs.

    Raises:
        ValueError: the GPU's memory cannot be used.
    """
    settings = run_settings(config)
    graphs = session.get_provider_options().get(CUDA, {}).get("enable_cuda_graph") == "1"
    if graphs and any(info.name == "Cpu" for info in session.get_input_memory_infos()):
        session, graphs = without_graphs(), False  # an input read on the host would be frozen into the graph
    tensors = [*session.get_inputs(), *session.get_outputs()]
    numbers = all(tensor.type in NUMPY_TYPES and dims_of(tensor) for tensor in tensors)
    if session.get_providers()[0] != CUDA or config["max_batch_size"] == 0 or not numbers:
        return HostExecutor(session, {**settings, GRAPH_KEY: NO_GRAPH} if graphs else settings)
    return BoundExecutor(
        session, CudaMemory(device), prepared_sizes(config), settings, without_graphs if graphs else None
    )
