"""One batch on its way through the GPU: its memory on both sides, its stream, its contexts and its CUDA graphs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from batching import Array
from cuda_calls import Gpu
from engine_facts import EngineFacts, Shape

NUMPY_TYPES = {
    "TYPE_BOOL": np.bool_,
    "TYPE_UINT8": np.uint8,
    "TYPE_INT8": np.int8,
    "TYPE_INT32": np.int32,
    "TYPE_INT64": np.int64,
    "TYPE_FP16": np.float16,
    "TYPE_FP32": np.float32,
}

Shapes = Mapping[str, Shape]


@dataclass
class _Buffer:
    """A tensor's memory, on the host (pinned) and on the GPU.

    Attributes:
        dtype: of its numbers.
        pinned: UINT8, as large as the largest batch.
        device: the address on the GPU.
        used: bytes of `pinned` that are not zero for sure.
    """

    dtype: Any
    pinned: Array
    device: int
    used: int = 0


@dataclass
class Run:
    """What one set of buffers knows of batches of one shape.

    Attributes:
        number: the optimization profile.
        shapes: input name -> shape, padding included.
        sizes: tensor name -> bytes.
        outputs: output name -> shape.
        answers: output name -> where the answer comes to lie, in pinned memory.
        graphs: whether the inputs are on the GPU already -> the CUDA graph.
    """

    number: int
    shapes: Shapes
    sizes: Mapping[str, int]
    outputs: Shapes
    answers: dict[str, Array] = field(default_factory=dict)
    graphs: dict[bool, int] = field(default_factory=dict)


class BufferSet:
    """What one batch in flight needs; several let one batch's copies overlap another's computation.

    Args:
        gpu: where.
        facts: what the engine says of itself.
        contexts: profile number -> execution context, for this set alone.
        largest: profile number -> the shapes of the largest batch.
        priority: of the stream.

    Raises:
        ValueError: the GPU's memory does not suffice, or an output's shape depends on its input's values.
    """

    def __init__(
        self, gpu: Gpu, facts: EngineFacts, contexts: Mapping[int, Any], largest: Mapping[int, Shapes], priority: str
    ) -> None:
        self._gpu, self._facts, self._contexts = gpu, facts, contexts
        self._stream = gpu.stream(priority)
        self._runs: dict[Any, Run] = {}
        self._buffers: dict[str, _Buffer] = {}
        self._current: dict[int, Any] = {}
        self._answered: tuple[Run, int | None] | None = None
        for number, context in contexts.items():
            if number and not context.set_optimization_profile_async(number, self._stream):
                raise ValueError(f"TensorRT cannot use optimization profile {number}")
        gpu.wait(self._stream)
        sizes: dict[str, int] = {}
        for number, shapes in largest.items():
            for name, size in self._describe(number, shapes).sizes.items():
                sizes[name] = max(size, sizes.get(name, 0))
        self._buffers = {name: self._allocate(name, size) for name, size in sizes.items()}

    def run_of(self, number: int, shapes: Shapes) -> Run:
        """What is known of batches of these shapes.

        Raises:
            ValueError: TensorRT refuses them.
        """
        key = number, *shapes.items()
        if key not in self._runs:
            run = self._describe(number, shapes)
            run.answers = {name: self._array(name, shape) for name, shape in run.outputs.items()}
            self._runs[key] = run
        return self._runs[key]

    def fill(self, parts: Sequence[Mapping[str, Any]], run: Run) -> bool:
        """Copy each request straight to its place in the batch, and zeros behind the last.

        Args:
            parts: the inputs of each request: arrays, or tensors on the GPU.
            run: the batch's.

        Returns:
            whether the inputs lie on the GPU now: where one of them was there already, the others follow at once.
        """
        on_gpu = not all(isinstance(array, np.ndarray) for inputs in parts for array in inputs.values())
        for name in run.shapes:
            buffer, padded, filled = self._buffers[name], run.sizes[name], 0
            for inputs in parts:
                filled = self._put(buffer, inputs[name], filled, straight=on_gpu)
            if on_gpu and padded > filled:
                self._gpu.clear_on(self._stream, buffer.device + filled, padded - filled)
            elif buffer.used > filled:
                buffer.pinned[filled:padded] = 0
                buffer.used = filled if buffer.used <= padded else buffer.used
        return on_gpu

    def start(self, run: Run, rows: int | None, *, on_gpu: bool) -> None:
        """Have the GPU run the batch that was filled in; returns at once.

        Args:
            run: the batch's.
            rows: to answer; None for all.
            on_gpu: the inputs lie there already.

        Raises:
            ValueError: TensorRT refuses.
        """
        graph = run.graphs.get(on_gpu)
        if graph is None:
            self._enqueue(run, on_gpu=on_gpu)
        else:
            self._gpu.launch(graph, self._stream)
        self._answered = run, rows

    def wait(self) -> dict[str, Array]:
        """The outputs of the batch that was started; they lie in this set's memory until it is filled again."""
        self._gpu.wait(self._stream)
        assert self._answered is not None, "whoever waits has started"  # noqa: S101
        run, rows = self._answered
        return run.answers if rows is None else {name: array[:rows] for name, array in run.answers.items()}

    def prepare(self, run: Run) -> None:
        """Have TensorRT compile for a batch of its shapes, which takes longest the first time."""
        self._enqueue(run, on_gpu=False)
        self._gpu.wait(self._stream)

    def capture(self, run: Run, *, on_gpu: bool) -> None:
        """Record a batch as a CUDA graph, its copies included, and see that it answers as a plain run.

        Raises:
            ValueError: it cannot be recorded, or answers otherwise; this set then goes on without it.
        """
        for name in run.shapes:
            _fill_with_noise(self._buffers[name])
        self.prepare(run)
        plain = {name: array.copy() for name, array in run.answers.items()}
        for array in run.answers.values():
            array[:] = 0
        graph = self._gpu.capture(self._stream, lambda: self._enqueue(run, on_gpu=on_gpu))
        self._gpu.launch(graph, self._stream)
        self._gpu.wait(self._stream)
        for name, array in run.answers.items():
            if not np.allclose(plain[name], array, rtol=1e-2, atol=1e-3, equal_nan=True):
                raise ValueError(f"a CUDA graph for {dict(run.shapes)} answers otherwise than without")
        run.graphs[on_gpu] = graph

    def _array(self, name: str, shape: Shape) -> Array:
        buffer = self._buffers[name]
        return buffer.pinned[: _bytes(shape, buffer.dtype)].view(buffer.dtype).reshape(shape)

    def _put(self, buffer: _Buffer, array: Any, offset: int, *, straight: bool) -> int:
        """Copy a request's part; returns where the next one begins."""
        end = offset + int(array.nbytes)
        if not isinstance(array, np.ndarray):
            self._gpu.copy_on(self._stream, buffer.device + offset, array.address, array.nbytes)
            return end
        place = buffer.pinned[offset:end].view(buffer.dtype).reshape(array.shape)
        np.copyto(place, array, casting="no")
        buffer.used = max(buffer.used, end)
        if straight:
            self._gpu.copy_on(self._stream, buffer.device + offset, place.ctypes.data, array.nbytes)
        return end

    def _enqueue(self, run: Run, *, on_gpu: bool) -> None:
        if not on_gpu:
            for name in run.shapes:
                self._copy(name, run.sizes[name], to_device=True)
        context = self._contexts[run.number]
        self._shape(run.number, run.shapes)
        for name, buffer in self._buffers.items():
            context.set_tensor_address(name, buffer.device)
        if not context.execute_async_v3(self._stream):
            raise ValueError(f"TensorRT cannot run a batch of {dict(run.shapes)}")
        for name in run.outputs:
            self._copy(name, run.sizes[name], to_device=False)

    def _copy(self, name: str, size: int, *, to_device: bool) -> None:
        buffer = self._buffers[name]
        ends = (buffer.device, buffer.pinned.ctypes.data) if to_device else (buffer.pinned.ctypes.data, buffer.device)
        self._gpu.copy_on(self._stream, *ends, size)

    def _shape(self, number: int, shapes: Shapes) -> None:
        if self._current.get(number) == (key := tuple(shapes.items())):
            return
        self._current[number] = None
        for name, shape in shapes.items():
            if not self._contexts[number].set_input_shape(name, shape):
                raise ValueError(f"TensorRT cannot run input '{name}' with the shape {list(shape)}")
        self._current[number] = key

    def _describe(self, number: int, shapes: Shapes) -> Run:
        self._shape(number, shapes)
        outputs = {name: tuple(self._contexts[number].get_tensor_shape(name)) for name in self._facts.outputs}
        for name, shape in outputs.items():
            if any(dim < 0 for dim in shape):
                raise ValueError(
                    f"the shape of output '{name}' depends on its input's values, which this backend does not have; "
                    "NVIDIA's container does"
                )
        types = {tensor.name: NUMPY_TYPES[tensor.data_type] for tensor in self._facts.tensors}
        sizes = {name: _bytes(shape, types[name]) for name, shape in {**shapes, **outputs}.items()}
        return Run(number, shapes, sizes, outputs)

    def _allocate(self, name: str, size: int) -> _Buffer:
        (tensor,) = (tensor for tensor in self._facts.tensors if tensor.name == name)
        return _Buffer(NUMPY_TYPES[tensor.data_type], self._gpu.pinned(size), self._gpu.memory(size))


def _bytes(shape: Shape, dtype: Any) -> int:
    size: int = math.prod(shape) * np.dtype(dtype).itemsize
    return size


def _fill_with_noise(buffer: _Buffer) -> None:
    """Numbers of which each row has others; zeros would let a graph of another's input pass."""
    values = buffer.pinned.view(buffer.dtype)
    noise = np.random.default_rng(0)
    if np.issubdtype(buffer.dtype, np.floating):
        values[:] = noise.random(len(values))
    else:
        values[:] = noise.integers(0, 2 if buffer.dtype in (np.bool_, np.int32, np.int64) else 127, len(values))
    buffer.used = len(buffer.pinned)
