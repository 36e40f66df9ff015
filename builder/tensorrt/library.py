"""TensorRT and TensorRT for RTX: in what they differ, as far as building with them notices."""

from __future__ import annotations

from dataclasses import dataclass

from builder.tensorrt.triton_releases import Version
from builder.variants import Engine
from console.tensorrt_rtx import NEWEST, requirements


@dataclass(frozen=True)
class Library:
    """One of the two libraries. The code around is the same; where it must choose, it asks here.

    Attributes:
        name: for messages.
        modules: Python modules to try, in this order.
        oldest: the first version with every name used here.
        install: how to get it.
        loads: which plans it loads, for messages.
        timing_cache: whether building measures kernels, and a cache of the timings saves that the next time.
        hardware_compatibility: whether a plan can be built for more GPUs than its own by compatibility level.
        version_compatible: whether a plan can be built for newer versions too (a lean runtime is shipped).
        strict_fp32: whether TF32 can be switched off, so that FP32 means FP32.
        portable: whether it builds for GPUs that are not here: one plan for all compute capabilities that it knows, or
            for those that are named. Kernels are then compiled where the plan is loaded.
        only_named: compute capabilities that a portable plan leaves out unless they are named.
        exact_version: whether a plan is bound to all four numbers of the version, and not to the first three.
        int8_from: the first version that builds convolutions in INT8.
        cuda: major version of CUDA that the driver must run; None where packages for several exist.
    """

    name: str
    modules: tuple[str, ...]
    oldest: Version
    install: str
    loads: str
    timing_cache: bool
    hardware_compatibility: bool
    version_compatible: bool
    strict_fp32: bool
    portable: bool
    only_named: tuple[str, ...]
    exact_version: bool
    int8_from: Version
    cuda: int | None


TENSORRT = Library(
    name="TensorRT",
    # the full wheel; or the bindings alone, over a libnvinfer that the system holds, as in NVIDIA's containers
    modules=("tensorrt", "tensorrt_bindings"),
    oldest=(10, 13, 0),  # HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY came last
    install="pip install tensorrt-cu13 (from NVIDIA's index), or build inside NVIDIA's container: "
    "make build-repo-docker",
    loads="a plan loads in the version and, unless built to be compatible, on the GPU model that built it",
    timing_cache=True,
    hardware_compatibility=True,
    version_compatible=True,
    strict_fp32=True,
    portable=False,
    only_named=(),
    exact_version=False,
    int8_from=(10, 13, 0),
    cuda=None,
)

TENSORRT_RTX = Library(
    name="TensorRT for RTX",
    modules=("tensorrt_rtx", "tensorrt_rtx_bindings"),
    oldest=(1, 4, 0),  # the oldest that was tried
    install=f"make setup-gpu, or pip install {' '.join(requirements(NEWEST))}",
    loads="an engine loads in exactly the version that built it; make setup-gpu installs the one for this GPU",
    timing_cache=False,
    hardware_compatibility=False,
    version_compatible=False,
    strict_fp32=False,
    portable=True,
    only_named=("7.5",),
    exact_version=True,
    int8_from=(1, 7, 0),  # 1.4 to 1.6 end with a failed check of Myelin, whatever the GPU
    cuda=13,
)

LIBRARIES = {Engine.TENSORRT: TENSORRT, Engine.TENSORRT_RTX: TENSORRT_RTX}
"""By engine; what is not in here is not built with TensorRT."""
