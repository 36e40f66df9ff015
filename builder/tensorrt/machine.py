"""Which TensorRT and which GPU this machine has."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.errors import TensorRTError
from builder.tensorrt.library import TENSORRT, Library
from builder.tensorrt.triton_releases import Version, parse_version, version_text
from console import nvidia

if TYPE_CHECKING:
    from types import ModuleType


@dataclass(frozen=True)
class Gpu:
    """The GPU that a plan is built on and for.

    Attributes:
        name: as the driver gives it.
        compute_capability: as in "9.0".
        cuda: newest version of CUDA that its driver runs, as in "13.0"; None where the driver does not say.
    """

    name: str
    compute_capability: str
    cuda: str | None


def load_library(library: Library = TENSORRT) -> ModuleType:
    """Import a library's Python module.

    Raises:
        TensorRTError: it is not installed, cannot find its library, or is older than this code.
    """
    reasons = []
    for name in library.modules:
        try:
            module = importlib.import_module(name)
        except (ImportError, OSError) as error:  # OSError: the wheel is there, its library is not
            reasons.append(" ".join(str(error).split()))
            continue
        version = tensorrt_version(module)
        if version < library.oldest:
            raise TensorRTError(
                f"expected {library.name} {version_text(library.oldest)} or newer; found {version_text(version)}",
                library.install,
            )
        return module
    telling = [reason for reason in reasons if not reason.startswith("No module named")] or reasons
    raise TensorRTError(f"{library.name} cannot be imported ({telling[0]})", library.install)


def tensorrt_version(tensorrt: ModuleType) -> Version:
    """Major, minor and patch of an imported TensorRT."""
    return parse_version(tensorrt.__version__)


def find_gpu() -> Gpu:
    """The GPU that TensorRT uses by default: the driver's first.

    Raises:
        TensorRTError: there is none that works.
    """
    found = nvidia.find_gpus()
    if not found.gpus:
        raise TensorRTError(
            f"TensorRT needs an NVIDIA GPU: {found.reason}",
            "use a machine with an NVIDIA GPU whose driver works (nvidia-smi lists it)",
        )
    first = found.gpus[0]
    return Gpu(first.name, first.compute_capability, ".".join(map(str, found.cuda)) if found.cuda else None)
