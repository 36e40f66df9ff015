"""Running batches in buffers that stay: inputs and outputs bound once to device memory, batches padded to few sizes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
from signature import dims_of

KEPT = 64
"""Buffers for this many combinations of shapes and outputs; the one unused for longest goes first."""

GRAPH_KEY = "gpu_graph_id"
"""ONNX Runtime's run option that says which CUDA graph a run belongs to."""

NO_GRAPH = "-1"
"""Its value for a run that is not to become one."""

_CAPTURED_AFTER = 3
"""Runs after which a graph is captured: ONNX Runtime lets one or two go by first, to have all memory allocated."""


@dataclass(frozen=True)
class _Bound:
    binding: Any
    inputs: dict[str, Any]
    outputs: dict[str, Any] | None
    options: onnxruntime.RunOptions

    def bind_inputs(self) -> None:
        """Bind what the buffers hold now: an input that the model needs on the host is copied there by this call."""
        for name, value in self.inputs.items():
            self.binding.bind_ortvalue_input(name, value)


class BoundExecutor:
    """Runs a session whose tensors lie on a device.

    Each request's inputs are copied once, straight to their place in the batch; they may lie on the host or on the
    device. A batch is padded with zeros to the next size of `sizes`: dynamic batching makes any size there is, and ONNX
    Runtime (1.31) plans every convolution anew whenever the size differs from the run before, some 60 ms a batch for
    ResNet18 on an H100. A CUDA graph, captured when a size is met for the first time, is replayed without planning.

    Args:
        session: the model's.
        memory: copies to the device.
        sizes: batch sizes worth preparing, ascending; a batch larger than the last is not padded.
        settings: entries of each run's options.
        without_graphs: None for a session without CUDA graphs; where its provider's option `enable_cuda_graph` is on,
            opens one without. It is asked for where a capture fails, or the graph's answer is not a plain run's.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        memory: Any,
        sizes: Sequence[int],
        settings: Mapping[str, str],
        without_graphs: Callable[[], onnxruntime.InferenceSession] | None = None,
    ) -> None:
        self._session = session
        self._memory = memory
        self._sizes = list(sizes)
        self._settings = dict(settings)
        self._without_graphs = without_graphs
        self._graph_number = 0
        self._bound: OrderedDict[Any, _Bound] = OrderedDict()
        self._output_dims = {tensor.name: dims_of(tensor) for tensor in session.get_outputs()}

    def run(self, names: Sequence[str], parts: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray[Any, Any]]:
        """Run one batch.

        Args:
            names: the outputs wanted.
            parts: the inputs of each request, arrays or tensors on the device; equal but for the batch dimension.

        Returns:
            output name -> array of the whole batch, on the host.
        """
        total = sum(next(iter(inputs.values())).shape[0] for inputs in parts)
        padded = next((size for size in self._sizes if size >= total), total)
        bound, fresh = self._bind(names, parts[0], padded)
        self._memory.begin()
        for name, target in bound.inputs.items():
            self._fill(target, [inputs[name] for inputs in parts])
        self._memory.end()
        if bound.outputs is None:
            bound.bind_inputs()
        if fresh and bound.outputs is not None and not self._captures(bound):
            self._give_up_graphs()
            return self.run(names, parts)
        self._session.run_with_iobinding(bound.binding, bound.options)
        bound.binding.synchronize_outputs()
        if bound.outputs is not None:
            return {name: self._fetch(value, total) for name, value in bound.outputs.items()}
        arrays = zip(names, bound.binding.copy_outputs_to_cpu(), strict=True)
        return {name: array[:total] if len(array) == padded else array for name, array in arrays}

    def _give_up_graphs(self) -> None:
        """Go on with another session: a failed capture may leave its stream unusable."""
        assert self._without_graphs is not None, "only a session with graphs captures one"  # noqa: S101
        self._bound.clear()
        self._session, self._without_graphs = self._without_graphs(), None

    def _captures(self, bound: _Bound) -> bool:
        """Run until a graph is captured; whether its answer, once replayed, is that of a plain run.

        What the host decides while a model is captured stays so in its graph; this sees it where it shows at once.
        """
        answers = []
        try:
            for _ in range(_CAPTURED_AFTER + 1):
                self._session.run_with_iobinding(bound.binding, bound.options)
                bound.binding.synchronize_outputs()
                outputs = (bound.outputs or {}).values()
                answers.append([self._fetch(value, value.shape()[0]) for value in outputs])
        except Exception:  # noqa: BLE001  whatever it is: it comes again in the plain run, or it was the capture's
            return False
        return all(map(_alike, answers[0], answers[-1]))

    def _fetch(self, value: Any, rows: int) -> np.ndarray[Any, Any]:
        array = np.empty((rows, *value.shape()[1:]), NUMPY_TYPES[value.data_type()])
        self._memory.copy(array.ctypes.data, value.data_ptr(), array.nbytes)
        return array

    def _fill(self, target: Any, arrays: Sequence[Any]) -> None:
        address, left = target.data_ptr(), target.tensor_size_in_bytes()
        for array in arrays:
            source = array
            if isinstance(array, np.ndarray):
                source = np.ascontiguousarray(array)
            self._memory.copy(address, _address(source), source.nbytes)
            address, left = address + source.nbytes, left - source.nbytes
        if left:
            self._memory.clear(address, left)

    def _bind(self, names: Sequence[str], like: Mapping[str, Any], size: int) -> tuple[_Bound, bool]:
        """The buffers for a batch, and whether they are new."""
        key = size, tuple(names), tuple((name, array.shape[1:]) for name, array in like.items())
        fresh = key not in self._bound
        if fresh:
            self._bound[key] = self._make(names, like, size)
            if len(self._bound) > KEPT:
                self._bound.popitem(last=False)
        self._bound.move_to_end(key)
        return self._bound[key], fresh

    def _make(self, names: Sequence[str], like: Mapping[str, Any], size: int) -> _Bound:
        device = self._memory.name, self._memory.device
        binding = self._session.io_binding()
        inputs = {
            name: onnxruntime.OrtValue.ortvalue_from_shape_and_type([size, *array.shape[1:]], array.dtype, *device)
            for name, array in like.items()
        }
        outputs = self._make_outputs(names, size) if self._without_graphs else None
        for name in names:
            if outputs is None:
                binding.bind_output(name, "cpu")
            else:
                binding.bind_ortvalue_output(name, outputs[name])
        bound = _Bound(binding, inputs, outputs, self._options(capture=outputs is not None))
        if outputs is not None:
            bound.bind_inputs()  # for good: a graph keeps these addresses; without one, each run binds
        return bound

    def _make_outputs(self, names: Sequence[str], size: int) -> dict[str, Any] | None:
        """Buffers for outputs, which a CUDA graph needs at fixed addresses; None where the shapes are not known."""
        if any(-1 in self._output_dims[name][1:] for name in names):
            return None
        types = {tensor.name: tensor.type for tensor in self._session.get_outputs()}
        device = self._memory.name, self._memory.device
        return {
            name: onnxruntime.OrtValue.ortvalue_from_shape_and_type(
                [size, *self._output_dims[name][1:]], NUMPY_TYPES[types[name]], *device
            )
            for name in names
        }

    def _options(self, *, capture: bool) -> onnxruntime.RunOptions:
        options = onnxruntime.RunOptions()
        for key, value in self._settings.items():
            options.add_run_config_entry(key, value)
        if self._without_graphs:
            self._graph_number += capture
            options.add_run_config_entry(GRAPH_KEY, str(self._graph_number) if capture else NO_GRAPH)
        return options


NUMPY_TYPES = {
    "tensor(bool)": np.bool_,
    "tensor(uint8)": np.uint8,
    "tensor(uint16)": np.uint16,
    "tensor(uint32)": np.uint32,
    "tensor(uint64)": np.uint64,
    "tensor(int8)": np.int8,
    "tensor(int16)": np.int16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(float16)": np.float16,
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
}


def _alike(plain: np.ndarray[Any, Any], replayed: np.ndarray[Any, Any]) -> bool:
    """Equal but for the order of additions, which may differ from run to run on a GPU."""
    if not np.issubdtype(plain.dtype, np.floating):
        return bool(np.array_equal(plain, replayed))
    scale = np.nanmax(np.abs(plain), initial=0, where=np.isfinite(plain))
    return bool(np.allclose(plain, replayed, rtol=1e-2, atol=1e-3 * float(scale), equal_nan=True))


def _address(array: Any) -> int:
    return int(array.ctypes.data if isinstance(array, np.ndarray) else array.address)
