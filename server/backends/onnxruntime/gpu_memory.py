"""GPU memory, by the CUDA runtime that this process has already loaded, and tensors that Triton leaves on the GPU."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np

_ANY_DIRECTION = 4  # cudaMemcpyDefault: the addresses tell which side each is on
_INTEGER, _UNSIGNED, _FLOAT, _BOOLEAN = 0, 1, 2, 6  # DLDataTypeCode
_KINDS = {_INTEGER: "i", _UNSIGNED: "u", _FLOAT: "f", _BOOLEAN: "b"}


class CudaMemory:
    """Copies to and within one GPU.

    Args:
        device: its number.

    Raises:
        ValueError: no CUDA runtime is loaded, or the GPU cannot be used.
    """

    name = "cuda"

    def __init__(self, device: int) -> None:
        self.device = device
        self._runtime = ctypes.CDLL(_loaded_runtime())
        self._runtime.cudaGetErrorString.restype = ctypes.c_char_p
        self.begin()

    def begin(self) -> None:
        """Make this thread's CUDA calls go to the GPU."""
        self._check(self._runtime.cudaSetDevice(self.device))

    def copy(self, target: int, source: int, size: int) -> None:
        """Copy bytes between addresses, each on the host or on the GPU."""
        arguments = ctypes.c_void_p(target), ctypes.c_void_p(source), ctypes.c_size_t(size), _ANY_DIRECTION
        self._check(self._runtime.cudaMemcpy(*arguments))

    def clear(self, target: int, size: int) -> None:
        """Fill GPU memory with zeros."""
        self._check(self._runtime.cudaMemset(ctypes.c_void_p(target), 0, ctypes.c_size_t(size)))

    def end(self) -> None:
        """Wait for the copies: those within the GPU return early, and ONNX Runtime's stream does not wait for them."""
        self._check(self._runtime.cudaStreamSynchronize(None))

    def _check(self, code: int) -> None:
        if code:
            raise ValueError(f"CUDA, GPU {self.device}: {self._runtime.cudaGetErrorString(code).decode()}")


def _loaded_runtime() -> str:
    """The CUDA runtime among this process's libraries; Triton's process for Python models always links one."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        path = line.split(maxsplit=5)[-1]
        if Path(path).name.startswith("libcudart"):
            return path
    raise ValueError("this process has loaded no CUDA runtime (libcudart)")


class DeviceArray:
    """A tensor that lies where DLPack says, with as much of an array's face as batching needs.

    Args:
        capsule: a DLPack capsule named `dltensor`; kept, for it owns the memory.

    Attributes:
        shape: as of an array.
        dtype: as of an array.
        nbytes: as of an array.
        address: of the first byte.
    """

    def __init__(self, capsule: Any) -> None:
        self._capsule = capsule
        get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
        get_pointer.restype, get_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
        tensor = ctypes.cast(get_pointer(capsule, b"dltensor"), ctypes.POINTER(_DLTensor)).contents
        self.shape = tuple(tensor.shape[axis] for axis in range(tensor.ndim))
        self.dtype = np.dtype(f"{_KINDS[tensor.code]}{tensor.bits // 8}")
        self.nbytes = int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize
        self.address = (tensor.data or 0) + tensor.byte_offset


class _DLTensor(ctypes.Structure):
    """dlpack.h, `DLTensor`; Triton gives contiguous tensors only, so strides are not read."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )
