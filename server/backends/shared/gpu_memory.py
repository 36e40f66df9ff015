"""Memory on a GPU as ONNX Runtime's executor needs it, and tensors that Triton leaves there."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from cuda_calls import Gpu

_INTEGER, _UNSIGNED, _FLOAT, _BOOLEAN = 0, 1, 2, 6  # DLDataTypeCode
_KINDS = {_INTEGER: "i", _UNSIGNED: "u", _FLOAT: "f", _BOOLEAN: "b"}


class CudaMemory:
    """Copies to and within one GPU.

    Args:
        device: its number.

    Raises:
        ValueError: the GPU cannot be used.
    """

    name = "cuda"

    def __init__(self, device: int) -> None:
        self.device = device
        self._gpu = Gpu(device)
        self.begin, self.copy, self.clear = self._gpu.use, self._gpu.copy, self._gpu.clear

    def end(self) -> None:
        """Wait for the copies: those within the GPU return early, and ONNX Runtime's stream does not wait for them."""
        self._gpu.wait(0)


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
