"""Which execution provider an instance runs on: the CPU's, or CUDA's without a silent way back."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnxruntime
from configuration import boolean, text
from files import read_text
from parameters import choice

Config = Mapping[str, Any]
Provider = tuple[str, dict[str, str]]

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"

_SEARCHES = ("EXHAUSTIVE", "HEURISTIC", "DEFAULT")
_STRATEGIES = ("kNextPowerOfTwo", "kSameAsRequested")
_BOOLEAN_KEYS = ("do_copy_in_default_stream", "use_ep_level_unified_stream")


def choose_providers(config: Config, kind: str, device: int, *, gpu_demanded: bool) -> list[Provider]:
    """The providers of an instance, the preferred one first.

    Args:
        config: the model's configuration, as Triton passes it to a Python model.
        kind: "GPU" where Triton gave the instance a GPU; anything else means the CPU.
        device: the GPU's number.
        gpu_demanded: the configuration itself says KIND_GPU; otherwise (KIND_AUTO) an ONNX Runtime without CUDA
            may use the CPU.

    Raises:
        ValueError: an accelerator or a GPU setting is unknown or bad, or the GPU is demanded of an ONNX Runtime
            that has no CUDA provider.
    """
    _check_cpu_accelerators(config)
    if kind != "GPU":
        return [(CPU, {})]  # as in the C++ backend, nobody looks at what is set for a GPU
    options = _cuda_options(config, device)
    if CUDA in onnxruntime.get_available_providers():
        onnxruntime.preload_dlls()  # CUDA and cuDNN may be installed as wheels, where no loader looks
        return [(CUDA, options), (CPU, {})]
    if gpu_demanded:
        raise ValueError(
            f"the instance is KIND_GPU, but this ONNX Runtime ({onnxruntime.__version__}) has no CUDA provider; "
            "install onnxruntime-gpu in the server's environment, or use KIND_CPU"
        )
    return [(CPU, {})]


def check_providers(session: onnxruntime.InferenceSession, wanted: list[Provider]) -> None:
    """Refuse a session that fell back: where CUDA does not start, ONNX Runtime only warns and takes the CPU.

    Raises:
        ValueError: it did.
    """
    found = session.get_providers()
    if found[0] != wanted[0][0]:
        raise ValueError(
            f"the instance should run on {wanted[0][0]}, but ONNX Runtime took {found[0]}: CUDA or cuDNN is missing, "
            "of another version, or the GPU is not usable; ONNX Runtime's warning above says which library"
        )


def demands_gpu(model_directory: Path) -> bool:
    """Whether the configuration itself says KIND_GPU; Triton turns KIND_AUTO into KIND_GPU before a backend sees it."""
    try:
        written = read_text(_configuration(model_directory))
    except OSError:
        return False
    return re.search(r"\bkind\s*:\s*(KIND_GPU|1)\b", re.sub(r"#.*", "", written)) is not None


def _configuration(model_directory: Path) -> Path:
    """The file that Triton reads; the launcher says by which name, and a model that lacks it has config.pbtxt read."""
    name = os.environ.get("TRITON_MODEL_CONFIG_NAME")
    own = model_directory / "configs" / f"{name}.pbtxt"
    return own if name and own.exists() else model_directory / "config.pbtxt"


def _cuda_options(config: Config, device: int) -> dict[str, str]:
    """CUDA's options: accelerator "cuda" passed through, then the older `parameters` of the same meaning.

    The C++ backend lets the defaults of those four parameters overwrite the accelerator's; here what the configuration
    says stands, and their defaults are the same.
    """
    options = {
        "cudnn_conv_algo_search": _SEARCHES[0],
        "arena_extend_strategy": _STRATEGIES[0],
        "do_copy_in_default_stream": "1",
    }
    for name, parameters in _accelerators(config, "gpu_execution_accelerator"):
        if name == "tensorrt":
            raise ValueError(
                "execution accelerator 'tensorrt' is configured, but this backend's ONNX Runtime has no TensorRT; "
                "NVIDIA's container has it"
            )
        if name != "cuda":
            raise ValueError(f"unknown execution accelerator '{name}' for the GPU; expected cuda")
        for key in _BOOLEAN_KEYS:
            if key in parameters:
                boolean(key, parameters[key])
        options |= parameters
    if text(config, "cudnn_conv_algo_search") is not None:
        options["cudnn_conv_algo_search"] = choice(config, "cudnn_conv_algo_search", _SEARCHES)
    if text(config, "arena_extend_strategy") is not None:
        options["arena_extend_strategy"] = choice(config, "arena_extend_strategy", _STRATEGIES)
    for key in ("gpu_mem_limit", "do_copy_in_default_stream"):
        if (value := text(config, key)) is not None:
            options[key] = value
    return {**options, "device_id": str(device)}


def _check_cpu_accelerators(config: Config) -> None:
    for name, _ in _accelerators(config, "cpu_execution_accelerator"):
        if name == "openvino":
            raise ValueError(
                "execution accelerator 'openvino' is configured, but this backend's ONNX Runtime has no OpenVINO; "
                "NVIDIA's container has it"
            )
        raise ValueError(f"unknown execution accelerator '{name}' for the CPU; none is built in here")


def _accelerators(config: Config, group: str) -> list[tuple[str, dict[str, str]]]:
    entries = config.get("optimization", {}).get("execution_accelerators", {}).get(group, [])
    return [(entry["name"], dict(entry.get("parameters", {}))) for entry in entries]
