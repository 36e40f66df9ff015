"""A GPU and a TensorRT engine played by the host: what the backend does around them runs for real.

The engine computes each image's mean colour through a matrix, slowly enough that batches overlap; whoever gets
another's answer notices. Work is done when it is put into a stream, or recorded while one is captured.
"""

from __future__ import annotations

import ctypes
import time

import numpy as np

WEIGHTS = np.random.default_rng(0).normal(size=(3, 10)).astype(np.float32)


def answers(images: np.ndarray) -> np.ndarray:
    """What the engine answers: FP32 [N, 10]."""
    return images.reshape(len(images), -1, 3).mean(axis=1, dtype=np.float32) @ WEIGHTS


class FakeGpu:
    """`cuda_calls.Gpu`, in the host's memory.

    Attributes:
        launched: graphs that were run.
        broken: what a capture fails with; none where it is empty.
    """

    number, name, capability, driver = 0, "a fake GPU", (9, 0), 13000

    def __init__(self) -> None:
        self.launched = 0
        self.broken = ""
        self.closed = False
        self._arrays: list[np.ndarray] = []
        self._recording: list | None = None
        self._graphs: list[list] = []

    def use(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True

    def memory_left(self) -> str:
        return "all of it"

    def stream(self, priority: str = "") -> int:
        return 1

    def pinned(self, size: int) -> np.ndarray:
        self._arrays.append(np.zeros(size, np.uint8))
        return self._arrays[-1]

    def memory(self, size: int) -> int:
        return self.pinned(size).ctypes.data

    def submit(self, work) -> None:
        if self._recording is None:
            work()
        else:
            self._recording.append(work)

    def copy_on(self, stream: int, target: int, source: int, size: int) -> None:
        self.submit(lambda: ctypes.memmove(target, source, size))

    def clear_on(self, stream: int, target: int, size: int) -> None:
        self.submit(lambda: ctypes.memset(target, 0, size))

    def wait(self, stream: int) -> None:
        pass

    def capture(self, stream: int, work) -> int:
        if self.broken:
            raise ValueError(self.broken)
        self._recording = []
        work()
        self._graphs.append(self._recording)
        self._recording = None
        return len(self._graphs) - 1

    def launch(self, graph: int, stream: int) -> None:
        self.launched += 1
        for work in self._graphs[graph]:
            work()


class FakeEngine:
    """`ICudaEngine`, as far as it makes contexts.

    Attributes:
        seconds: of one batch.
        wrong: what is added to every answer.
    """

    def __init__(self, gpu: FakeGpu, *, seconds: float = 0.0, wrong: float = 0.0) -> None:
        self.gpu, self.seconds, self.wrong = gpu, seconds, wrong

    def create_execution_context(self, *_: object) -> FakeContext:
        return FakeContext(self)


class FakeContext:
    """`IExecutionContext`."""

    def __init__(self, engine: FakeEngine) -> None:
        self._engine = engine
        self._addresses: dict[str, int] = {}
        self._shape = (0, 32, 32, 3)

    def set_optimization_profile_async(self, number: int, stream: int) -> bool:
        return True

    def set_input_shape(self, name: str, shape) -> bool:
        self._shape = tuple(shape)
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (self._shape[0], 10)

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        shape, addresses = self._shape, dict(self._addresses)

        def run() -> None:
            time.sleep(self._engine.seconds)
            images = _at(addresses["images"], np.uint8, shape)
            _at(addresses["logits"], np.float32, (shape[0], 10))[:] = answers(images) + self._engine.wrong

        self._engine.gpu.submit(run)
        return True


def _at(address: int, dtype, shape) -> np.ndarray:
    count = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer((ctypes.c_uint8 * count).from_address(address), dtype).reshape(shape)
