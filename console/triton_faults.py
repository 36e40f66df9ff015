"""Faults of Triton's releases that a model's configuration can meet: said before a client gets a wrong answer.

The builder's `inspect` and the launcher both ask here, so that they say the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_GRAPHS_WITH_OUTPUT_STREAM = (
    "its answers are WRONG in NVIDIA's container: optimization.cuda has both graphs and output_copy_stream, and the "
    "TensorRT backend then gives requests the answers of other requests (found in every release from 24.05 to 26.07; "
    "23.03 to 24.03 read past the end of an array; later ones count as affected until shown otherwise; "
    "github.com/triton-inference-server/server/issues/8550). Remove output_copy_stream, or build the model again"
)

_OWN_GRAPHS_OF_ONNX_RUNTIME = (
    "it ends NVIDIA's server on a GPU (SIGSEGV): enable_cuda_graph stands among the parameters of the accelerator "
    "cuda, and the ONNX Runtime backend has no buffers that stay, which a graph needs (seen with ONNX Runtime 1.31.1). "
    "Remove enable_cuda_graph, or build the model again"
)


def faults_of(configs: Mapping[str, Any]) -> list[str]:
    """The known faults of all configurations of a model, each once, with the files that bring it out.

    Args:
        configs: path in the model's directory -> `inference.ModelConfig`.
    """
    files: dict[str, list[str]] = {}
    for path, config in configs.items():
        for fault in known_faults(config):
            files.setdefault(fault, []).append(path)
    return [f"{fault} (in {', '.join(paths)})" for fault, paths in files.items()]


def known_faults(config: Any) -> list[str]:
    """What a configuration brings out in released versions of Triton, each with the releases and the remedy.

    Args:
        config: `inference.ModelConfig`, Triton's protobuf message.

    Returns:
        one sentence for each fault; none for a configuration that is free of them.
    """
    cuda = config.optimization.cuda
    found = []
    if _is_tensorrt(config) and cuda.graphs and cuda.output_copy_stream:
        found.append(_GRAPHS_WITH_OUTPUT_STREAM)
    if _is_onnx(config) and any(
        accelerator.name == "cuda" and accelerator.parameters.get("enable_cuda_graph", "0").lower() in ("1", "true")
        for accelerator in config.optimization.execution_accelerators.gpu_execution_accelerator
    ):
        found.append(_OWN_GRAPHS_OF_ONNX_RUNTIME)
    return found


def _is_tensorrt(config: Any) -> bool:
    """Whether NVIDIA's TensorRT backend serves it; a configuration may name backend, platform, file or nothing."""
    return _served_by(config, ("tensorrt", "tensorrt_plan"), ".plan")


def _is_onnx(config: Any) -> bool:
    """The same of the ONNX Runtime backend."""
    return _served_by(config, ("onnxruntime", "onnxruntime_onnx"), ".onnx")


def _served_by(config: Any, names: tuple[str, ...], suffix: str) -> bool:
    named = config.backend or config.platform
    return named in names or (not named and (config.default_model_filename or f"model{suffix}").endswith(suffix))
