"""The TensorRT that serves: NVIDIA's `tensorrt`, or `tensorrt_rtx`; what differs between them is looked up."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from cuda_calls import Gpu
from engine_facts import EngineFacts, EngineTensor, Range
from files import name_of

MODEL_FILE = "model.plan"

RTX = "tensorrt_rtx"
"""The backend's name of TensorRT for RTX; every other name means NVIDIA's TensorRT."""

_MODULES = {"tensorrt": ("tensorrt", "tensorrt_bindings"), RTX: ("tensorrt_rtx", "tensorrt_rtx_bindings")}
"""The Python modules of each, of which the first that is installed counts: the wheel of the bindings is enough, and of
TensorRT for RTX PyPI has no other."""

_NAMES = {"tensorrt": "TensorRT", RTX: "TensorRT for RTX"}
_MAGIC = {"tensorrt": b"ftrt", RTX: b"vtrt"}
"""How a plan of each begins."""

_TYPES = {
    "FLOAT": "FP32", "HALF": "FP16", "INT8": "INT8", "UINT8": "UINT8", "BF16": "BF16", "INT32": "INT32",
    "INT64": "INT64", "BOOL": "BOOL",
}  # fmt: skip


class Library:
    """One of the two, in this process.

    Args:
        backend: the name in the configuration.

    Raises:
        ValueError: it is not installed.
    """

    def __init__(self, backend: str) -> None:
        self.trt: Any = _imported(RTX if backend == RTX else "tensorrt")
        self._kind = RTX if hasattr(self.trt, "DynamicShapesKernelSpecializationStrategy") else "tensorrt"
        self.logger = _make_logger(self.trt)
        self.runtime: Any = None

    @property
    def version(self) -> str:
        """The library's."""
        return f"{_NAMES[self._kind]} {self.trt.__version__}"

    def load(self, path: Path, gpu: Gpu) -> Any:
        """Read a plan.

        Args:
            path: the file.
            gpu: where it is to run.

        Raises:
            ValueError: it is damaged, of another library or version, or for another GPU.
        """
        content = path.read_bytes()
        if not content:
            raise ValueError(f"{name_of(path)} is empty")
        self._check_magic(path, content)
        self.runtime = self.trt.Runtime(self.logger)
        engine = self.runtime.deserialize_cuda_engine(content)
        if engine is None:
            capability = ".".join(map(str, gpu.capability))
            raise ValueError(
                f"{name_of(path)} is no plan that {self.version} can run on {gpu.name} (compute capability "
                f"{capability}): "
                f"{self.logger.last_error or 'it says no more'}; build it again here: a plan runs with the version "
                "that built it, on the GPUs it was built for"
            )
        return engine

    def _check_magic(self, path: Path, content: bytes) -> None:
        """Name a plan of the other library as what it is: its own words would speak of versions."""
        other = "tensorrt" if self._kind == RTX else RTX
        if content.startswith(_MAGIC[other]):
            raise ValueError(
                f"{name_of(path)} was built by {_NAMES[other]}, but {self.version} serves it; expected a plan of "
                f"{_NAMES[self._kind]}: build it with that, or configure the other backend"
            )


def _imported(kind: str) -> Any:
    reasons = []
    for module in _MODULES[kind]:
        try:
            return importlib.import_module(module)
        except (ImportError, OSError) as error:  # OSError: the wheel is there, its library is not
            reasons.append(str(error))
    telling = [reason for reason in reasons if not reason.startswith("No module named")] or reasons
    raise ValueError(f"{_NAMES[kind]} cannot be imported in the server's environment: {telling[0]}")


def describe(trt: Any, engine: Any) -> EngineFacts:
    """What an engine says of itself."""
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    tensors = tuple(_tensor(trt, engine, name) for name in names)
    inputs = [tensor.name for tensor in tensors if tensor.is_input and not tensor.is_shape]
    profiles = tuple(
        {name: Range(*map(tuple, engine.get_tensor_profile_shape(name, number))) for name in inputs}
        for number in range(engine.num_optimization_profiles)
    )
    return EngineFacts(tensors, profiles)


def _tensor(trt: Any, engine: Any, name: str) -> EngineTensor:
    return EngineTensor(
        name,
        engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT,
        f"TYPE_{_TYPES.get(engine.get_tensor_dtype(name).name, 'INVALID')}",
        tuple(engine.get_tensor_shape(name)),
        engine.get_tensor_format(name) == trt.TensorFormat.LINEAR,
        bool(engine.is_shape_inference_io(name)),
    )


def _make_logger(trt: Any) -> Any:
    """TensorRT keeps one logger a process, the first: this one remembers the last error, for whoever asks why."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.last_error = ""

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.last_error = message

    return Logger()
