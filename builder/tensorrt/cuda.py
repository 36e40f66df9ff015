"""GPU memory and a stream, for running an engine once to verify it.

A handful of calls to the driver's library, which is there wherever a GPU is. So verifying needs no CUDA build of
PyTorch, and no package that would have to fit the CUDA version of each TensorRT; speed does not matter here.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from builder.errors import TensorRTError
from console.nvidia import Driver, DriverError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_OUT_OF_MEMORY = 2  # CUDA_ERROR_OUT_OF_MEMORY


class Device:
    """The first GPU, in the context that TensorRT's own CUDA runtime uses too.

    Raises:
        TensorRTError: there is no driver, or it does not give the GPU.
    """

    def __init__(self) -> None:
        with _told("use the GPU"):
            self._driver = Driver()
            self._driver.call("cuInit", 0)
            self._context = ctypes.c_void_p()
            device = self._driver.integer("cuDeviceGet", 0)
            self._driver.call("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), device)
            self._driver.call("cuCtxSetCurrent", self._context)

    @contextmanager
    def memory(self, size: int) -> Iterator[int]:
        """Memory on the GPU, as its address, for as long as the block lasts.

        Args:
            size: bytes.

        Raises:
            TensorRTError: there is not so much left.
        """
        address = ctypes.c_uint64()
        with _told(f"give {size} bytes of GPU memory"):
            self._driver.call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(size))
        try:
            yield address.value
        finally:
            with _told("take GPU memory back"):
                self._driver.call("cuMemFree_v2", address)

    @contextmanager
    def stream(self) -> Iterator[int]:
        """A stream of its own, as its handle; the block must have synchronised it before it ends."""
        handle = ctypes.c_void_p()
        with _told("make a stream"):
            self._driver.call("cuStreamCreate", ctypes.byref(handle), 0)
        try:
            yield handle.value or 0
        finally:
            with _told("end a stream"):
                self._driver.call("cuStreamDestroy_v2", handle)

    def to_gpu(self, address: int, array: NDArray[np.generic]) -> None:
        """Copy a contiguous array to the GPU and wait for it."""
        with _told("copy to the GPU"):
            source = ctypes.c_void_p(array.ctypes.data)
            self._driver.call("cuMemcpyHtoD_v2", ctypes.c_uint64(address), source, ctypes.c_size_t(array.nbytes))

    def from_gpu(self, array: NDArray[np.generic], address: int) -> None:
        """Copy from the GPU into a contiguous array and wait for it."""
        with _told("copy from the GPU"):
            target = ctypes.c_void_p(array.ctypes.data)
            self._driver.call("cuMemcpyDtoH_v2", target, ctypes.c_uint64(address), ctypes.c_size_t(array.nbytes))

    def synchronize(self, stream: int) -> None:
        """Wait until a stream has done all it was given."""
        with _told("finish the batch"):
            self._driver.call("cuStreamSynchronize", ctypes.c_void_p(stream))


@contextmanager
def _told(what: str) -> Iterator[None]:
    try:
        yield
    except OSError:
        raise TensorRTError("no NVIDIA driver is installed (libcuda.so.1 is not found)") from None
    except DriverError as error:
        hint = "free GPU memory (nvidia-smi shows who holds it) and try again" if error.code == _OUT_OF_MEMORY else ""
        raise TensorRTError(f"the NVIDIA driver cannot {what}: {error}", hint) from None
