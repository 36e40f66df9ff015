"""A model's backend, where its configuration does not name it, as Triton's core finds it (`model_config_utils.cc`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

ENSEMBLE = "ensemble"

PLATFORMS = {
    "tensorflow_savedmodel": "tensorflow",
    "tensorflow_graphdef": "tensorflow",
    "tensorrt_plan": "tensorrt",
    "onnxruntime_onnx": "onnxruntime",
    "pytorch_libtorch": "pytorch",
    ENSEMBLE: ENSEMBLE,
}
FILES = {
    "model.savedmodel": "tensorflow",
    "model.graphdef": "tensorflow",
    "model.plan": "tensorrt",
    "model.onnx": "onnxruntime",
    "model.xml": "openvino",
    "model.pt": "pytorch",
    "model.py": "python",
}
"""A model's file -> the backend that core takes it for, in its order."""


def backend_of(config: Any, directory: Path) -> str:
    """The backend that a model is served by; empty where core does not know either."""
    if config.backend:
        return str(config.backend)
    if config.platform:
        return PLATFORMS.get(config.platform, str(config.platform))
    if config.default_model_filename:
        return FILES.get(config.default_model_filename, "")
    files = _files_of_first_version(directory)
    found = next((backend for file, backend in FILES.items() if file in files), "")
    return found or directory.name.partition(".")[2]  # core's rule for backends of one's own: model.NAME


def is_model(directory: Path) -> bool:
    """Whether a directory looks like a model: it has a configuration, or a version with a model's file."""
    return (directory / "config.pbtxt").is_file() or bool(_files_of_first_version(directory) & set(FILES))


def _files_of_first_version(directory: Path) -> set[str]:
    try:
        versions = sorted(path for path in directory.iterdir() if path.is_dir())
        return {path.name for path in versions[0].iterdir()} if versions else set()
    except OSError:
        return set()
