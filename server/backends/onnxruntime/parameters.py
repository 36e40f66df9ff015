"""What a configuration sets in its `parameters`, `optimization` and `model_operations`, for ONNX Runtime.

Keys and accepted values are those of the container's C++ backend (`src/onnxruntime.cc`, `ModelState` and `LoadModel`).
What it lets pass is let pass: a graph level it does not know means full optimisation there, and here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import onnxruntime
from configuration import boolean, check_served, cuda_settings, text

Config = Mapping[str, Any]

_LEVELS = {
    -1: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    1: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    2: onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
}
_INITIALIZERS_KEY = "session.use_device_allocator_for_initializers"
_SHRINKAGE_KEY = "memory.enable_memory_arena_shrinkage"
_WHOLE_NUMBER = re.compile(r"\s*([+-]?\d+)")  # what C++'s stoi reads: digits in front, whatever follows


def integer(config: Config, name: str, default: int) -> int:
    """A whole-number entry.

    Raises:
        ValueError: it is not a whole number of 32 bits.
    """
    value = text(config, name)
    if value is None:
        return default
    number = _WHOLE_NUMBER.match(value)
    if number is None or not -(2**31) <= int(number[1]) < 2**31:
        raise ValueError(f"parameter {name}: expected a whole number, found '{value}'")
    return int(number[1])


def choice(config: Config, name: str, values: tuple[Any, ...]) -> Any:
    """An entry that chooses by number, 0 being the default.

    Raises:
        ValueError: it is not one of 0 to len(values) - 1.
    """
    number = integer(config, name, 0)
    if not 0 <= number < len(values):
        raise ValueError(f"parameter {name}: expected one of 0 to {len(values) - 1}, found {number}")
    return values[number]


def session_options(config: Config, kind: str) -> onnxruntime.SessionOptions:
    """The options that a configuration asks for.

    Args:
        config: the model's configuration, as Triton passes it to a Python model.
        kind: of the instance, "GPU" or another.

    Raises:
        ValueError: a value is bad, or asks for what a Python-based backend cannot do.
    """
    check_served(config, sequences=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors; Triton logs what ends a load or a request
    threads = integer(config, "intra_op_thread_count", 0)
    options.intra_op_num_threads = threads if threads > 0 else threads_per_instance(config, kind)
    options.inter_op_num_threads = max(integer(config, "inter_op_thread_count", 0), 0)
    # Between runs the cores are Triton's: a thread that goes on waiting for work delays the answer on its way out.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    modes = (onnxruntime.ExecutionMode.ORT_SEQUENTIAL, onnxruntime.ExecutionMode.ORT_PARALLEL)
    options.execution_mode = choice(config, "execution_mode", modes)
    if (value := text(config, "enable_mem_arena")) is not None:
        options.enable_cpu_mem_arena = boolean("enable_mem_arena", value)
    if (value := text(config, "enable_mem_pattern")) is not None:
        options.enable_mem_pattern = boolean("enable_mem_pattern", value)
    if (value := text(config, _INITIALIZERS_KEY)) is not None:
        options.add_session_config_entry(_INITIALIZERS_KEY, value)
    level = int(config.get("optimization", {}).get("graph", {}).get("level", 0))
    options.graph_optimization_level = _LEVELS.get(level, onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL)
    for library in config.get("model_operations", {}).get("op_library_filename", []):
        options.register_custom_ops_library(library)
    return options


def wants_graphs(config: Config) -> bool:
    """Whether a configuration asks for CUDA graphs where Triton's own field for them is: `optimization.cuda.graphs`.

    The C++ backend for ONNX Runtime does not read it, and cannot do as it says: it has no buffers that stay, and ONNX
    Runtime's own `enable_cuda_graph` would answer every batch size with the graph of the first.
    """
    return bool(cuda_settings(config).get("graphs", False))


def run_settings(config: Config) -> dict[str, str]:
    """What each run is to be told."""
    value = text(config, _SHRINKAGE_KEY)
    return {} if value is None else {_SHRINKAGE_KEY: value}


def threads_per_instance(config: Config, kind: str) -> int:
    """Share the cores between the instances: more threads than cores slow every instance down."""
    if kind == "GPU":
        return 1
    instances = sum(int(group.get("count", 1)) for group in config.get("instance_group", [])) or 1
    return max(len(os.sched_getaffinity(0)) // instances, 1)
