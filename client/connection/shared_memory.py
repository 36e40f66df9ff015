"""Regions of shared memory that this process and the server both see; none outlives the client.

A region's name begins with `PREFIX` and the client's process id, so that what a killed client left registered in a
server can be recognised and removed by the next one. Python's resource tracker removes the memory itself, even when
the client is killed.
"""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from cifar10 import CLASS_NAMES, IMAGE_SHAPE
from client.connection.control import Control
from client.connection.endpoint import Transport
from client.errors import ClientError, RequestFailedError, RequestTimedOutError, ServerUnreachableError

if TYPE_CHECKING:
    from numpy.typing import NDArray

PREFIX = "triton_client"
_IMAGE_BYTES = int(np.prod(IMAGE_SHAPE))
_LOGIT_BYTES = 4 * len(CLASS_NAMES)
_number = itertools.count()


class _SystemMemory:
    """POSIX shared memory."""

    kind = "system"

    def __init__(self) -> None:
        from tritonclient.utils import shared_memory

        self._library = shared_memory

    def create(self, name: str, size: int) -> Any:
        try:
            return self._library.create_shared_memory_region(name, name, size, create_only=True)
        except self._library.SharedMemoryException as error:
            raise ClientError(f"cannot create {size:,} bytes of shared memory: {error.__cause__ or error}") from None

    def register(self, control: Control, name: str, region: Any, size: int) -> None:  # noqa: ARG002  as CUDA's
        control.call("register_system_shared_memory", name, f"/{name}", size)

    def write(self, region: Any, array: NDArray[Any]) -> None:
        self._library.set_shared_memory_region(region, [array])

    def read(self, region: Any, shape: tuple[int, ...]) -> NDArray[np.float32]:
        # a copy: the view would keep the region from being closed
        return np.array(self._library.get_contents_as_numpy(region, np.float32, shape))

    def destroy(self, region: Any) -> None:
        self._library.destroy_shared_memory_region(region)


class _CudaMemory:
    """Memory of GPU 0."""

    kind = "cuda"
    device = 0

    def __init__(self) -> None:
        try:
            from tritonclient.utils import cuda_shared_memory
        except Exception as error:  # noqa: BLE001  the library raises whatever its CUDA bindings raise
            raise ClientError(
                f"--transport cuda-shm needs CUDA on the client's machine: {error}",
                "pip install cuda-python, and a GPU",
            ) from None
        self._library = cuda_shared_memory

    def create(self, name: str, size: int) -> Any:
        try:
            return self._library.create_shared_memory_region(name, size, self.device)
        except self._library.CudaSharedMemoryException as error:
            raise ClientError(
                f"cannot create {size:,} bytes of CUDA shared memory: {error.__cause__ or error}",
                "--transport cuda-shm needs an NVIDIA GPU on the client's machine",
            ) from None

    def register(self, control: Control, name: str, region: Any, size: int) -> None:
        handle = self._library.get_raw_handle(region)
        control.call("register_cuda_shared_memory", name, handle, self.device, size)

    def write(self, region: Any, array: NDArray[Any]) -> None:
        self._library.set_shared_memory_region(region, [np.ascontiguousarray(array)])

    def read(self, region: Any, shape: tuple[int, ...]) -> NDArray[np.float32]:
        return np.array(self._library.get_contents_as_numpy(region, np.float32, shape))

    def destroy(self, region: Any) -> None:
        self._library.destroy_shared_memory_region(region)


class Slot:
    """Room for one request in flight: images in one region, logits in another."""

    def __init__(self, memory: Any, names: tuple[str, str], regions: tuple[Any, Any]) -> None:
        self._memory = memory
        self.input_name, self.output_name = names
        self._input, self._output = regions

    @staticmethod
    def output_bytes(images: int) -> int:
        """Bytes of the logits of so many images."""
        return images * _LOGIT_BYTES

    def write(self, images: NDArray[np.uint8]) -> None:
        """Put images into the input region."""
        self._memory.write(self._input, images)

    def read(self, images: int) -> NDArray[np.float32]:
        """Copy the logits, FP32 [images, 10], out of the output region."""
        logits: NDArray[np.float32] = self._memory.read(self._output, (images, len(CLASS_NAMES)))
        return logits


class SharedMemory:
    """The slots of one client, registered with one server.

    Args:
        control: the server.
        transport: SYSTEM_SHM or CUDA_SHM.

    Raises:
        ClientError: no CUDA here; the server forbids shared memory or runs on another machine.
    """

    def __init__(self, control: Control, transport: Transport) -> None:
        self._control = control
        self._memory: Any = _CudaMemory() if transport is Transport.CUDA_SHM else _SystemMemory()
        self._regions: dict[str, Any] = {}
        self._remove_remains()

    def slots(self, count: int, images: int) -> list[Slot]:
        """Make `count` slots for requests of up to `images` images.

        Raises:
            ClientError: memory does not suffice, or the server cannot use it.
        """
        made = []
        for _ in range(count):
            sizes = (images * _IMAGE_BYTES, Slot.output_bytes(images))
            names = tuple(f"{PREFIX}_{os.getpid()}_{next(_number)}" for _ in sizes)
            regions = tuple(self._region(name, size) for name, size in zip(names, sizes, strict=True))
            made.append(Slot(self._memory, (names[0], names[1]), (regions[0], regions[1])))
        return made

    def close(self) -> None:
        """Unregister and free everything; a server that has gone or is silent is not asked again for each region."""
        answers = True
        for name, region in self._regions.items():
            answers = answers and self._unregister(name)
            self._memory.destroy(region)
        self._regions.clear()

    def _region(self, name: str, size: int) -> Any:
        region = self._memory.create(name, size)
        self._regions[name] = region
        try:
            self._memory.register(self._control, name, region, size)
        except RequestFailedError as error:
            raise ClientError(
                f"the server cannot use the client's shared memory: {error}",
                "the server must run on this machine and allow it (Triton 26.04 and newer: --allow-client-shm=true; "
                "in a container also --ipc=host); or use --transport grpc",
            ) from None
        return region

    def _unregister(self, name: str) -> bool:
        """Returns whether the server is still there to be asked."""
        try:
            self._control.call(f"unregister_{self._memory.kind}_shared_memory", name)
        except (ServerUnreachableError, RequestTimedOutError):
            return (
                False  # it has gone, and what was registered with it; the next client removes what a silent one keeps
            )
        except ClientError:
            pass  # it does not know the region
        return True

    def _remove_remains(self) -> None:
        """Unregister what clients that were killed on this machine have left."""
        try:
            status = self._control.call(f"get_{self._memory.kind}_shared_memory_status")
        except RequestFailedError:
            return  # a server that forbids shared memory says so again when a region is registered
        for name in status.regions:
            if name.startswith(f"{PREFIX}_") and not _is_running(name.split("_")[2]):
                self._unregister(name)


def _is_running(pid: str) -> bool:
    import psutil

    return not pid.isdigit() or psutil.pid_exists(int(pid))
