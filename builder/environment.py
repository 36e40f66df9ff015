"""What a model was made with: package versions, machine, git revision."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from pathlib import Path

_PACKAGES = ("torch", "torchvision", "onnx", "onnxscript", "onnxruntime", "tensorrt", "numpy", "safetensors")


def tool_versions() -> dict[str, str]:
    """Versions of Python and of the installed packages that shape a model."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def git_revision() -> str | None:
    """The commit this code stands at, with "-dirty" when files differ from it; None outside a git checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--match="]
    try:
        result = subprocess.run(  # noqa: S603  a fixed argument list
            command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip() or None
