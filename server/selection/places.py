"""Which of a model's configurations is read: the launcher chooses by what it finds, as Triton then does by name."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from console.nvidia import find_gpus
from server.errors import ServerError

CPU, GPU = "cpu", "gpu_embedded"

NOT_ON_GPU = (
    "this machine has a GPU, but ONNX Runtime here is the one for CPUs; make setup-gpu installs the other "
    "(--model-config-name overrides)"
)


def has_gpu() -> bool:
    """Whether there is an NVIDIA GPU that this process can open."""
    return bool(find_gpus().gpus)


def can_use_gpu() -> bool:
    """Whether ONNX models run on a GPU here: there is one, and the ONNX Runtime of this environment knows CUDA."""
    try:
        importlib.metadata.version("onnxruntime-gpu")
    except importlib.metadata.PackageNotFoundError:
        return False
    return has_gpu()


def config_name(wanted: str | None) -> str:
    """The name to start Triton with.

    Args:
        wanted: what the user asks for; empty for config.pbtxt, None to choose by what this machine has.

    Raises:
        ServerError: it is not the name of a file in configs/.
    """
    if wanted is None:
        return GPU if can_use_gpu() else CPU
    if wanted in (".", "..") or "/" in wanted or "\0" in wanted:
        raise ServerError(
            f"--model-config-name must be a name, without a path; found '{wanted}'",
            "as in: --model-config-name cpu, for configs/cpu.pbtxt of every model",
        )
    return wanted


def config_file(directory: Path, name: str) -> Path:
    """The configuration of a model that Triton reads (core r24.10, `GetModelConfigFullPath`).

    Args:
        directory: the model's.
        name: as from `config_name`.
    """
    own = directory / "configs" / f"{name}.pbtxt"
    return own if name and own.exists() else directory / "config.pbtxt"


def config_files(directory: Path) -> list[Path]:
    """All configurations of a model, config.pbtxt first."""
    paths = [directory / "config.pbtxt", *sorted((directory / "configs").glob("*.pbtxt"))]
    return [path for path in paths if path.is_file()]
