"""The NVIDIA GPUs of this machine, asked of the driver's own library.

Files tell less: WSL2 has neither /dev/nvidia* nor /proc/driver/nvidia, and a device file may be there without a driver
that works. The driver's library also heeds CUDA_VISIBLE_DEVICES, so what it hides counts as absent here too.
Source: the CUDA driver API (docs.nvidia.com/cuda/cuda-driver-api).
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

_LIBRARIES = ("libcuda.so.1", "/usr/lib/wsl/lib/libcuda.so.1")
"""The second where WSL2 is told not to give its libraries to the dynamic linker."""

_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR
_NAME_BYTES = 256


@dataclass(frozen=True)
class Gpu:
    """One GPU.

    Attributes:
        name: as the driver gives it, as in "NVIDIA GeForce RTX 4090".
        compute_capability: as in "8.9".
        memory: bytes it has.
    """

    name: str
    compute_capability: str
    memory: int


@dataclass(frozen=True)
class Gpus:
    """What the driver says.

    Attributes:
        gpus: in the driver's order.
        cuda: newest CUDA that the driver runs, as (13, 0); None without a driver.
        reason: why there are none; empty when there are.
    """

    gpus: tuple[Gpu, ...] = ()
    cuda: tuple[int, int] | None = None
    reason: str = ""


class DriverError(Exception):
    """A call of the driver failed: the call, and the driver's own words."""

    def __init__(self, call: str, code: int, said: str) -> None:
        super().__init__(f"{call} answers {said}")
        self.code = code


class Driver:
    """The driver's library, as far as ctypes needs no more than its functions' names.

    Raises:
        OSError: it is not installed.
    """

    def __init__(self) -> None:
        self._library = _load()

    def call(self, name: str, *arguments: object) -> None:
        """Call a function of the driver API; integers wider than 32 bits come as ctypes values.

        Raises:
            DriverError: it did not succeed.
        """
        try:
            code: int = getattr(self._library, name)(*arguments)
        except AttributeError:
            raise DriverError(name, -1, "nothing: this driver is too old to have it") from None
        if code:
            raise DriverError(name, code, self._said(code))

    def _said(self, code: int) -> str:
        words = []
        for function in ("cuGetErrorName", "cuGetErrorString"):
            text = ctypes.c_char_p()
            if not getattr(self._library, function)(code, ctypes.byref(text)) and text.value:
                words.append(text.value.decode(errors="replace"))
        return ": ".join(words) or f"error {code}"

    def integer(self, name: str, *arguments: object) -> int:
        """What a function writes through its first argument, an `int *`."""
        value = ctypes.c_int()
        self.call(name, ctypes.byref(value), *arguments)
        return value.value


def _load() -> ctypes.CDLL:
    for name in _LIBRARIES[:-1]:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return ctypes.CDLL(_LIBRARIES[-1])


def find_gpus() -> Gpus:
    """Ask the driver; a machine without one, or whose driver does not work, has none, and `reason` says why."""
    try:
        driver = Driver()
    except OSError:
        return Gpus(reason="no NVIDIA driver is installed (libcuda.so.1 is not found)")
    cuda = None
    try:
        driver.call("cuInit", 0)
        number = driver.integer("cuDriverGetVersion")
        cuda = (number // 1000, number % 1000 // 10)
        gpus = tuple(_gpu(driver, index) for index in range(driver.integer("cuDeviceGetCount")))
    except DriverError as error:
        return Gpus(cuda=cuda, reason=f"the NVIDIA driver finds none ({error})")
    return Gpus(gpus, cuda, "" if gpus else "the NVIDIA driver finds none")


def _gpu(driver: Driver, index: int) -> Gpu:
    device = driver.integer("cuDeviceGet", index)
    name = ctypes.create_string_buffer(_NAME_BYTES)
    driver.call("cuDeviceGetName", name, _NAME_BYTES, device)
    memory = ctypes.c_size_t()
    driver.call("cuDeviceTotalMem_v2", ctypes.byref(memory), device)
    major, minor = (driver.integer("cuDeviceGetAttribute", attribute, device) for attribute in (_MAJOR, _MINOR))
    return Gpu(name.value.decode(errors="replace"), f"{major}.{minor}", memory.value)


def free_memory(index: int = 0) -> int:
    """Bytes of a GPU that nobody holds; the context that this takes for asking counts as held.

    Raises:
        OSError: there is no driver.
        DriverError: the driver does not give the GPU, or has no memory left for asking.
    """
    driver = Driver()
    driver.call("cuInit", 0)
    device = driver.integer("cuDeviceGet", index)
    context, free, total = ctypes.c_void_p(), ctypes.c_size_t(), ctypes.c_size_t()
    driver.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
    try:
        driver.call("cuCtxSetCurrent", context)
        driver.call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
    finally:
        driver.call("cuDevicePrimaryCtxRelease_v2", device)
    return free.value
