"""A TensorRT that builds nothing, for what the real one does only on a GPU: timing kernels, loading, inspecting plans.

Parsing, profiles, building, progress and cancelling are shown on real libraries (`tensorrt_rtx_scenes.py`). This one's
plans remember what they were asked for, and its inspector speaks the JSON of version 10 or 11. A `Behaviour` makes it
fail in the ways the real one fails. `test_contract.py` holds every member it has against the real bindings; a name that
is not a member cannot be set, as in the real ones.
"""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import onnx

GPU = "NVIDIA H200"


@dataclass
class Behaviour:
    """How the fake behaves.

    Attributes:
        version: decides the inspector's dialect and what timing caches fit.
        gpu: decides what timing caches fit.
        convolutions: the precision the inspector shows for them; None for that of their weights.
        names_only: how the inspector answers when an engine was built without detailed verbosity.
        input_dtype: what the engine takes.
        deserialises: whether plans can be loaded.
    """

    version: str = "11.2.1.2"
    gpu: str = GPU
    convolutions: str | None = None
    names_only: bool = False
    input_dtype: str = "UINT8"
    deserialises: bool = True


BEHAVIOUR = Behaviour()
BUILT: list[IBuilderConfig] = []
"""The configurations of all builds since `install`."""


def install(behaviour: Behaviour) -> ModuleType:
    """A module `tensorrt` that behaves so."""
    global BEHAVIOUR
    BEHAVIOUR = behaviour
    BUILT.clear()
    module = ModuleType("tensorrt")
    module.__version__ = behaviour.version
    for member in _CLASSES:
        setattr(module, member.__name__, member)
    return module


def members() -> list[str]:
    """Every public name of the fake: "Builder", "Builder.create_network", …"""
    return [path for member in _CLASSES for path in _paths(member, member.__name__)]


def _paths(member: type, path: str) -> list[str]:
    found = [path]
    for name, value in vars(member).items():
        if name in getattr(member, "__members__", {}) or not (name.startswith("_") or isinstance(value, type)):
            found.append(f"{path}.{name}")
        elif isinstance(value, type) and not name.startswith("_"):
            found += _paths(value, f"{path}.{name}")
    return found


class _Strict:
    """An object that takes no attribute its class does not have."""

    def __setattr__(self, name: str, value: object) -> None:
        if not name.startswith("_") and not hasattr(type(self), name):
            raise AttributeError(f"{type(self).__name__} has no attribute {name}")
        super().__setattr__(name, value)


class NetworkDefinitionCreationFlag(enum.IntEnum):
    STRONGLY_TYPED = 1


class MemoryPoolType(enum.IntEnum):
    WORKSPACE = 0


class ProfilingVerbosity(enum.IntEnum):
    DETAILED = 2


class BuilderFlag(enum.IntEnum):
    TF32 = 7
    VERSION_COMPATIBLE = 15


class HardwareCompatibilityLevel(enum.IntEnum):
    NONE = 0
    AMPERE_PLUS = 1
    SAME_COMPUTE_CAPABILITY = 2


class LayerInformationFormat(enum.IntEnum):
    JSON = 1


class TensorIOMode(enum.IntEnum):
    INPUT = 1
    OUTPUT = 2


class DataType(enum.IntEnum):
    FLOAT = 0
    HALF = 1
    UINT8 = 5


class ILogger:
    class Severity(enum.IntEnum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2
        INFO = 3
        VERBOSE = 4

    def log(self, severity: Severity, msg: str) -> None:
        raise NotImplementedError


class IProgressMonitor:
    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
        raise NotImplementedError

    def step_complete(self, phase_name: str, step: int) -> bool:
        raise NotImplementedError

    def phase_finish(self, phase_name: str) -> None:
        raise NotImplementedError


class IHostMemory(bytes):
    pass


class ITimingCache(_Strict):
    def __init__(self, made_for: str, timings: int) -> None:
        self._made_for, self._timings = made_for, timings

    def serialize(self) -> IHostMemory:
        return IHostMemory(f"fake timing cache|{self._made_for}|{self._timings}".encode())


def _here() -> str:
    return f"{BEHAVIOUR.version} on {BEHAVIOUR.gpu}"


class IOptimizationProfile(_Strict):
    def __init__(self) -> None:
        self._shapes: dict[str, list[list[int]]] = {}

    def set_shape(self, input: str, min: tuple, opt: tuple, max: tuple) -> None:  # noqa: A002  TensorRT's names
        self._shapes[input] = [list(min), list(opt), list(max)]


class IBuilderConfig(_Strict):
    builder_optimization_level = 3
    hardware_compatibility_level = HardwareCompatibilityLevel.NONE
    profiling_verbosity = None
    progress_monitor = None

    def __init__(self) -> None:
        self._flags = {BuilderFlag.TF32}
        self._profiles: list[IOptimizationProfile] = []
        self._cache: ITimingCache | None = None

    def set_memory_pool_limit(self, pool: MemoryPoolType, pool_size: int) -> None:
        pass

    def set_flag(self, flag: BuilderFlag) -> None:
        self._flags.add(flag)

    def clear_flag(self, flag: BuilderFlag) -> None:
        self._flags.discard(flag)

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        self._profiles.append(profile)
        return len(self._profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache | None:
        if not serialized_timing_cache:
            return ITimingCache(_here(), 0)
        kind, _, rest = serialized_timing_cache.decode(errors="replace").partition("|")
        made_for, _, timings = rest.partition("|")
        return ITimingCache(made_for, int(timings)) if kind == "fake timing cache" else None

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        if cache._made_for != _here() and not ignore_mismatch:
            return False
        self._cache = cache
        return True

    def get_timing_cache(self) -> ITimingCache | None:
        return self._cache


class INetworkDefinition(_Strict):
    def __init__(self, flags: int) -> None:
        self._onnx = b""


class OnnxParser(_Strict):
    def __init__(self, network: INetworkDefinition, logger: ILogger) -> None:
        self._network = network

    def parse(self, model: bytes) -> bool:
        onnx.load_from_string(model)
        self._network._onnx = model
        return True


class Builder(_Strict):
    def __init__(self, logger: ILogger) -> None:
        self._logger = logger

    def create_network(self, flags: int = 0) -> INetworkDefinition:
        return INetworkDefinition(flags)

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig()

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> IHostMemory | None:
        BUILT.append(config)
        config._cache._timings += 1
        content = {
            "onnx": network._onnx.hex(),
            "shapes": config._profiles[0]._shapes,
            "detailed": config.profiling_verbosity == ProfilingVerbosity.DETAILED,
        }
        return IHostMemory(json.dumps(content).encode())


class Runtime(_Strict):
    engine_host_code_allowed = False

    def __init__(self, logger: ILogger) -> None:
        self._logger = logger

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        if BEHAVIOUR.deserialises and serialized_engine.startswith(b"{"):
            return ICudaEngine(json.loads(serialized_engine))
        said = "The engine plan file is not compatible with this version of TensorRT, please rebuild."
        self._logger.log(ILogger.Severity.ERROR, said)
        return None


_ELEMENTS = {onnx.TensorProto.FLOAT: DataType.FLOAT, onnx.TensorProto.UINT8: DataType.UINT8}


class ICudaEngine(_Strict):
    num_io_tensors = property(lambda self: len(self._tensors))

    def __init__(self, plan: dict[str, Any]) -> None:
        self._plan = plan
        self._graph = onnx.load_from_string(bytes.fromhex(plan["onnx"])).graph
        self._inputs = [value.name for value in self._graph.input]
        self._tensors = {value.name: value.type.tensor_type for value in [*self._graph.input, *self._graph.output]}

    def get_tensor_name(self, index: int) -> str:
        return list(self._tensors)[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name in self._inputs else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> DataType:
        return DataType[BEHAVIOUR.input_dtype] if name in self._inputs else _ELEMENTS[self._tensors[name].elem_type]

    def get_tensor_shape(self, name: str) -> list[int]:
        return [-1 if dim.dim_param else dim.dim_value for dim in self._tensors[name].shape.dim]

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[list[int]]:
        return self._plan["shapes"][name]

    def create_execution_context(self) -> IExecutionContext:
        return IExecutionContext()

    def create_engine_inspector(self) -> EngineInspector:
        return EngineInspector(self)


class IExecutionContext(_Strict):
    def __init__(self) -> None:
        self._shapes: dict[str, tuple[int, ...]] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._shapes[name] = shape
        return True


class EngineInspector(_Strict):
    execution_context: IExecutionContext | None = None

    def __init__(self, engine: ICudaEngine) -> None:
        self._engine = engine

    def get_engine_information(self, format: LayerInformationFormat) -> str:  # noqa: A002  TensorRT's name
        graph, names = self._engine._graph, list(self._engine._tensors)
        if BEHAVIOUR.names_only or not self._engine._plan["detailed"]:
            return json.dumps({"Layers": [node.name for node in graph.node], "Bindings": names})
        layers = [self._layer(node) for node in graph.node if node.op_type == "Conv"]
        if BEHAVIOUR.version.startswith("10."):
            return json.dumps({"Layers": layers, "Bindings": names})
        return json.dumps({"Layers": layers, "I/O Tensors": [{"Name": name} for name in names]})

    def _layer(self, node: onnx.NodeProto) -> dict[str, Any]:
        types = {tensor.name: tensor.data_type for tensor in self._engine._graph.initializer}
        own = "Half" if types[node.input[1]] == onnx.TensorProto.FLOAT16 else "Float"
        precision = BEHAVIOUR.convolutions or own
        return {
            "Name": f"{node.name} + relu",
            "LayerType": "CaskConvolution",
            "ParameterType": "Convolution",
            "Metadata": f"[ONNX Layer: {node.name}]\x1e[ONNX Layer: relu]",
            "Inputs": [self._tensor(node.input[0], precision)],
            "Outputs": [self._tensor(node.output[0], precision)],
            "Weights": {"Type": precision, "Count": 1},
        }

    def _tensor(self, name: str, precision: str) -> dict[str, str]:
        shaped = self.execution_context is not None and self.execution_context._shapes
        if not shaped:
            return {"Name": name, "Format/Datatype": "N/A due to dynamic shapes"}
        if BEHAVIOUR.version.startswith("10."):
            return {"Name": name, "Format/Datatype": precision}
        return {"Name": name, "Format": "Channel last format (kHWC8)", "DataType": precision}


_CLASSES: tuple[type, ...] = (
    Builder,
    BuilderFlag,
    DataType,
    EngineInspector,
    HardwareCompatibilityLevel,
    IBuilderConfig,
    ICudaEngine,
    IExecutionContext,
    IHostMemory,
    ILogger,
    INetworkDefinition,
    IOptimizationProfile,
    IProgressMonitor,
    ITimingCache,
    LayerInformationFormat,
    MemoryPoolType,
    NetworkDefinitionCreationFlag,
    OnnxParser,
    ProfilingVerbosity,
    Runtime,
    TensorIOMode,
)
