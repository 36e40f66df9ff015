"""Which version of TensorRT for RTX a GPU gets: `python -m console.tensorrt_rtx` prints it as pip's requirements.

`make setup-gpu` installs that into both environments, for an engine loads only in the very version that built it.
"""

from __future__ import annotations

from pathlib import Path

from console.nvidia import find_gpus

NEWEST = "1.7.1.116"
"""Supports the compute capabilities 7.5 (in engines that name it), 8.0, 8.6, 8.9 and those from 12.0 on."""

BY_COMPUTE_CAPABILITY = {"9.0": "1.6.1.120"}
"""GPUs that get another. NVIDIA supports 9.0 (H100, H200) in no version; 1.6.1 runs there, and 1.7.1 refuses."""


def version_for(compute_capability: str | None) -> str:
    """The version for a GPU, as in "8.9"; for None, a machine without one, the newest."""
    return BY_COMPUTE_CAPABILITY.get(compute_capability or "", NEWEST)


def beside(repository: Path) -> Path:
    """The repository for models of TensorRT for RTX: model_repository_rtx beside model_repository.

    NVIDIA's container has no backend for them, and a model that it cannot load would end it; so they lie in no
    repository that it mounts.
    """
    path = repository.absolute()
    return path.with_name(f"{path.name}_rtx")


def version_directory(repository: Path, model: str, version: str) -> Path:
    """Where a model's version lies: in the repository or, where only that one has it, in the one beside."""
    places = [path / model / version for path in (repository, beside(repository))]
    return next((path for path in places if path.is_dir()), places[0])


def requirements(version: str) -> tuple[str, ...]:
    """What pip installs: the library and its Python module. The package that joins the two is a source archive."""
    return tuple(f"tensorrt-rtx-cu13-{part}=={version}" for part in ("libs", "bindings"))


if __name__ == "__main__":
    found = find_gpus().gpus
    print(*requirements(version_for(found[0].compute_capability if found else None)))  # noqa: T201
