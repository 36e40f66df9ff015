"""The few CUDA calls that backends make, by NVIDIA's own bindings (`cuda-bindings`), with its errors as Python's.

Streams and addresses are plain integers, as TensorRT and ONNX Runtime take them. A thread that makes calls says once
which GPU they are for: `Gpu.use`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

try:
    from cuda.bindings import runtime
except ImportError:  # a server for CPUs has none
    runtime = None

Array = np.ndarray[Any, Any]


class Gpu:
    """One GPU and what is allocated on it; `close` gives all of it back.

    Args:
        number: CUDA's.

    Raises:
        ValueError: `cuda-bindings` is missing, or there is no driver, an old one, or no such GPU.
    """

    def __init__(self, number: int) -> None:
        if runtime is None:
            raise ValueError("cuda-bindings is not installed in the server's environment; make setup-gpu installs it")
        self.number = number
        self._undo: list[Callable[[], Any]] = []
        try:
            self.use()
        except ValueError as error:
            raise ValueError(
                f"{error}; expected a GPU of that number and NVIDIA's driver, R580 or newer: nvidia-smi shows both"
            ) from None
        self._default = runtime.cudaMemcpyKind.cudaMemcpyDefault  # the addresses tell which side each is on

    def use(self) -> None:
        """Make this thread's calls go to the GPU."""
        self._call(runtime.cudaSetDevice(self.number))

    def close(self) -> None:
        """Free everything, the last first."""
        self.use()
        while self._undo:
            self._undo.pop()()

    def stream(self, priority: str = "") -> int:
        """A stream of its own, which waits for no other.

        Args:
            priority: "PRIORITY_MAX", "PRIORITY_MIN", or anything else for the default.
        """
        lowest, highest = self._call(runtime.cudaDeviceGetStreamPriorityRange())
        value = {"PRIORITY_MAX": highest, "PRIORITY_MIN": lowest}.get(priority, 0)
        stream = int(self._call(runtime.cudaStreamCreateWithPriority(runtime.cudaStreamNonBlocking, value)))
        self._undo.append(lambda: runtime.cudaStreamDestroy(stream))
        return stream

    def pinned(self, size: int) -> Array:
        """Host memory that the GPU reads and writes by itself; UINT8 [size], zeros."""
        address = int(self._call(runtime.cudaHostAlloc(max(size, 1), runtime.cudaHostAllocDefault)))
        self._undo.append(lambda: runtime.cudaFreeHost(address))
        array: Array = np.frombuffer(memoryview((ctypes.c_uint8 * max(size, 1)).from_address(address)), np.uint8)[:size]
        array[:] = 0
        return array

    def memory(self, size: int) -> int:
        """Memory on the GPU, zeros; its address."""
        address = int(self._call(runtime.cudaMalloc(max(size, 1)), self._memory_left))
        self._undo.append(lambda: runtime.cudaFree(address))
        self._call(runtime.cudaMemset(address, 0, max(size, 1)))
        return address

    def copy(self, target: int, source: int, size: int) -> None:
        """Copy bytes between addresses, each on the host or on the GPU, and return when the host may go on."""
        self._call(runtime.cudaMemcpy(target, source, size, self._default))

    def copy_on(self, stream: int, target: int, source: int, size: int) -> None:
        """The same, in a stream's order; the host's side must be pinned and stay as it is until then."""
        self._call(runtime.cudaMemcpyAsync(target, source, size, self._default, stream))

    def clear(self, target: int, size: int) -> None:
        """Fill GPU memory with zeros."""
        self._call(runtime.cudaMemset(target, 0, size))

    def clear_on(self, stream: int, target: int, size: int) -> None:
        """The same, in a stream's order."""
        self._call(runtime.cudaMemsetAsync(target, 0, size, stream))

    def wait(self, stream: int) -> None:
        """Return when everything in a stream is done; 0 is the default stream."""
        self._call(runtime.cudaStreamSynchronize(stream))

    def capture(self, stream: int, work: Callable[[], None]) -> int:
        """Record what `work` puts into a stream, without running it, as a graph.

        Raises:
            ValueError: something of it cannot be recorded.
        """
        self._call(
            runtime.cudaStreamBeginCapture(stream, runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal)
        )
        try:
            work()
        except BaseException:
            runtime.cudaStreamEndCapture(stream)  # or the stream stays unusable
            runtime.cudaGetLastError()
            raise
        graph = self._call(runtime.cudaStreamEndCapture(stream))
        executable = int(self._call(runtime.cudaGraphInstantiate(graph, 0)))
        runtime.cudaGraphDestroy(graph)
        self._undo.append(lambda: runtime.cudaGraphExecDestroy(executable))
        return executable

    def launch(self, graph: int, stream: int) -> None:
        """Run a graph."""
        self._call(runtime.cudaGraphLaunch(graph, stream))

    @property
    def name(self) -> str:
        """As NVIDIA calls it."""
        return str(self._call(runtime.cudaGetDeviceProperties(self.number)).name.decode().rstrip("\0"))

    @property
    def capability(self) -> tuple[int, int]:
        """The compute capability."""
        attribute = runtime.cudaDeviceAttr
        major = self._call(runtime.cudaDeviceGetAttribute(attribute.cudaDevAttrComputeCapabilityMajor, self.number))
        minor = self._call(runtime.cudaDeviceGetAttribute(attribute.cudaDevAttrComputeCapabilityMinor, self.number))
        return int(major), int(minor)

    @property
    def driver(self) -> int:
        """The newest CUDA that the driver knows, as 13000."""
        return int(self._call(runtime.cudaDriverGetVersion()))

    def memory_left(self) -> str:
        """How much of the GPU's memory is free, in words; for messages."""
        code, free, total = runtime.cudaMemGetInfo()
        return f"{free >> 20} of {total >> 20} MiB are free" if not int(code) else ""

    def _memory_left(self) -> str:
        return f": {self.memory_left()}; serve fewer models or instances"

    def _call(self, result: tuple[Any, ...], more: Callable[[], str] = str) -> Any:
        """The values of a call, or what CUDA says is wrong as a ValueError."""
        code, values = result[0], result[1:]
        if int(code):
            _, words = runtime.cudaGetErrorString(code)
            raise ValueError(f"CUDA, GPU {self.number}: {words.decode()}{more()}")
        return values[0] if len(values) == 1 else values
