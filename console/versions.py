"""Which code and which packages produced a file."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from collections.abc import Iterable
from pathlib import Path

MODEL_TOOLS = (
    "torch",
    "torchvision",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "tensorrt-cu13-bindings",
    "tensorrt-rtx-cu13-bindings",
    "numpy",
    "safetensors",
)
"""Packages that shape a model."""


def package_versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions of Python and of those `packages` that are installed."""
    versions = {"python": platform.python_version()}
    for package in packages:
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
