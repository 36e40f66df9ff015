"""Which TensorRT and which GPU this machine has."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from builder.errors import TensorRTError
from builder.triton_releases import Version, parse_version, version_text

if TYPE_CHECKING:
    from types import ModuleType

OLDEST: Version = (10, 13, 0)
"""The first with every name used here (HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY came last)."""

_MODULES = ("tensorrt", "tensorrt_bindings")
"""The full wheel; or the bindings alone, over a libnvinfer that the system holds, as in NVIDIA's containers."""


DRIVER_FILE = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True)
class Gpu:
    """The GPU that a plan is built on and for.

    Attributes:
        name: as the driver gives it.
        compute_capability: as in "9.0".
        cuda: version of the CUDA runtime that PyTorch brings to this process; None for a build without CUDA.
    """

    name: str
    compute_capability: str
    cuda: str | None


def load_tensorrt() -> ModuleType:
    """Import TensorRT's Python module.

    Raises:
        TensorRTError: it is not installed, cannot find its library, or is older than this code.
    """
    reasons = []
    for name in _MODULES:
        try:
            module = importlib.import_module(name)
        except (ImportError, OSError) as error:  # OSError: the wheel is there, its library is not
            reasons.append(" ".join(str(error).split()))
            continue
        version = tensorrt_version(module)
        if version < OLDEST:
            raise TensorRTError(
                f"expected TensorRT {version_text(OLDEST)} or newer; found {version_text(version)}",
                "pip install --upgrade tensorrt-cu13",
            )
        return module
    raise TensorRTError(
        f"TensorRT cannot be imported ({reasons[0]})",
        "pip install tensorrt-cu13 (from NVIDIA's index), or build inside NVIDIA's container: make build-repo-docker",
    )


def tensorrt_version(tensorrt: ModuleType) -> Version:
    """Major, minor and patch of an imported TensorRT."""
    return parse_version(tensorrt.__version__)


def find_gpu() -> Gpu:
    """The GPU that PyTorch and TensorRT use by default.

    Raises:
        TensorRTError: there is none that PyTorch can use.
    """
    import torch

    if not torch.cuda.is_available():
        reason = "this PyTorch is built without CUDA" if torch.version.cuda is None else "no NVIDIA GPU answers"
        raise TensorRTError(
            f"a TensorRT plan is built on the GPU that will serve it: {reason}",
            "build on a machine with an NVIDIA GPU and a CUDA build of PyTorch",
        )
    major, minor = torch.cuda.get_device_capability()
    return Gpu(torch.cuda.get_device_name(), f"{major}.{minor}", torch.version.cuda)


def driver_series() -> int | None:
    """The NVIDIA driver's series, 580 for 580.65.06; None where there is no driver, or it does not say."""
    text = DRIVER_FILE.read_text() if DRIVER_FILE.is_file() else ""
    found = re.search(r"^NVRM version:.*?\s(\d{3})\.\d+", text, re.MULTILINE)
    return int(found[1]) if found else None
