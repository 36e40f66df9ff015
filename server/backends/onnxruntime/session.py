"""An ONNX Runtime session as a Triton configuration asks for it, and the check that both describe the same model.

The rules are those of the container's C++ backend (triton-inference-server/onnxruntime_backend, `src/onnxruntime.cc`),
so that a configuration it would refuse is refused here too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnxruntime

ONNX_TYPES = {
    "TYPE_BOOL": "tensor(bool)",
    "TYPE_UINT8": "tensor(uint8)",
    "TYPE_UINT16": "tensor(uint16)",
    "TYPE_UINT32": "tensor(uint32)",
    "TYPE_UINT64": "tensor(uint64)",
    "TYPE_INT8": "tensor(int8)",
    "TYPE_INT16": "tensor(int16)",
    "TYPE_INT32": "tensor(int32)",
    "TYPE_INT64": "tensor(int64)",
    "TYPE_FP16": "tensor(float16)",
    "TYPE_FP32": "tensor(float)",
    "TYPE_FP64": "tensor(double)",
    "TYPE_STRING": "tensor(string)",
}

_OPTIMIZATION_LEVELS = {
    -1: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    0: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
    1: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    2: onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
}

_CUDNN_SEARCHES = ("EXHAUSTIVE", "HEURISTIC", "DEFAULT")

Config = Mapping[str, Any]


def make_session(path: Path, config: Config, kind: str, device: int) -> onnxruntime.InferenceSession:
    """Load a model.

    Args:
        path: the ONNX file.
        config: the model's configuration, as Triton passes it to a Python model.
        kind: "CPU" or "GPU", of the instance.
        device: the GPU's number.

    Raises:
        ValueError: a parameter has a bad value, the model and its configuration disagree, or a GPU instance cannot
            run on the GPU.
    """
    if not path.is_file():
        raise ValueError(f"there is no {path.name} in {path.parent}")
    providers: list[Any] = ["CPUExecutionProvider"]
    if kind == "GPU":
        search = _CUDNN_SEARCHES[_integer(config, "cudnn_conv_algo_search", 0, range(3))]
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": device, "cudnn_conv_algo_search": search}))
    session = onnxruntime.InferenceSession(str(path), _options(config, kind), providers=providers)
    if kind == "GPU" and session.get_providers()[0] != "CUDAExecutionProvider":
        raise ValueError(
            f"the instance is KIND_GPU but this ONNX Runtime runs on {session.get_providers()[0]}; "
            "install onnxruntime-gpu, or use KIND_CPU"
        )
    _check_tensors("input", config["input"], session.get_inputs(), config["max_batch_size"])
    _check_tensors("output", config["output"], session.get_outputs(), config["max_batch_size"])
    return session


def _options(config: Config, kind: str) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors; Triton logs what ends a load or a request
    options.intra_op_num_threads = _integer(config, "intra_op_thread_count", _threads_per_instance(config, kind))
    options.inter_op_num_threads = _integer(config, "inter_op_thread_count", 0)
    if _integer(config, "execution_mode", 0, range(2)):
        options.execution_mode = onnxruntime.ExecutionMode.ORT_PARALLEL
    options.enable_cpu_mem_arena = bool(_integer(config, "enable_mem_arena", 1, range(2)))
    options.enable_mem_pattern = bool(_integer(config, "enable_mem_pattern", 1, range(2)))
    level = int(config.get("optimization", {}).get("graph", {}).get("level", 0))
    if level not in _OPTIMIZATION_LEVELS:
        raise ValueError(f"optimization.graph.level: expected one of {sorted(_OPTIMIZATION_LEVELS)}, found {level}")
    options.graph_optimization_level = _OPTIMIZATION_LEVELS[level]
    return options


def _threads_per_instance(config: Config, kind: str) -> int:
    """Share the cores between the instances: more threads than cores slow every instance down."""
    if kind == "GPU":
        return 1
    instances = sum(int(group.get("count", 1)) for group in config.get("instance_group", [])) or 1
    return max(len(os.sched_getaffinity(0)) // instances, 1)


def _integer(config: Config, name: str, default: int, allowed: range | None = None) -> int:
    """A whole-number entry of the configuration's `parameters`.

    Raises:
        ValueError: it is not a whole number, or not one of those allowed (0 or more when None).
    """
    text = config.get("parameters", {}).get(name, {}).get("string_value")
    if text is None:
        return default
    try:
        value = int(text)
    except ValueError:
        raise ValueError(f"parameter {name}: expected a whole number, found '{text}'") from None
    if value not in allowed if allowed else value < 0:
        expected = f"one of {list(allowed)}" if allowed else "0 or more"
        raise ValueError(f"parameter {name}: expected {expected}, found {value}")
    return value


def _check_tensors(kind: str, configured: Sequence[Config], in_model: Sequence[Any], max_batch_size: int) -> None:
    model = {tensor.name: tensor for tensor in in_model}
    names = [entry["name"] for entry in configured]
    for name in names:
        if name not in model:
            raise ValueError(f"{kind} '{name}' is configured, but the model's {kind}s are: {', '.join(model)}")
    if kind == "input" and (missing := [name for name in model if name not in names]):
        raise ValueError(f"the model needs input '{missing[0]}', which the configuration does not name")
    for entry in configured:
        tensor = model[entry["name"]]
        where = f"{kind} '{entry['name']}'"
        if ONNX_TYPES.get(entry["data_type"]) != tensor.type:
            raise ValueError(f"{where}: the configuration says {entry['data_type']}, the model has {tensor.type}")
        dims = [int(dim) for dim in entry.get("reshape", {}).get("shape", entry["dims"])]
        _check_shape(where, dims, tensor.shape, max_batch_size)


def _check_shape(where: str, dims: list[int], shape: list[int | str | None], max_batch_size: int) -> None:
    found = [dim if isinstance(dim, int) else -1 for dim in shape]
    expected = [-1, *dims] if max_batch_size > 0 else dims
    batch = "; the first is the batch, since max_batch_size is more than 0" if max_batch_size > 0 else ""
    if max_batch_size > 0 and found and found[0] != -1:
        raise ValueError(
            f"{where}: max_batch_size is {max_batch_size}, but the model's batch dimension is fixed to {found[0]} "
            f"(its shape is {found})"
        )
    fits = len(found) == len(expected) and all(
        there in (-1, wanted) for wanted, there in zip(expected, found, strict=True)
    )
    if not fits:
        raise ValueError(f"{where}: the configuration says {expected}, the model has {found}{batch}")
