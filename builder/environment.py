"""What a model was made with."""

from __future__ import annotations

from console.versions import git_revision, package_versions

__all__ = ["git_revision", "tool_versions"]

_PACKAGES = (
    "torch",
    "torchvision",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "tensorrt-cu13-bindings",
    "numpy",
    "safetensors",
)


def tool_versions() -> dict[str, str]:
    """Versions of Python and of the installed packages that shape a model."""
    return package_versions(_PACKAGES)
