"""Whether a TensorRT plan can be built here for the server that will load it, and building it."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from builder.errors import TensorRTError
from builder.tensorrt.engine import LoadedPlan
from builder.tensorrt.library import LIBRARIES, TENSORRT, Library
from builder.tensorrt.machine import Gpu, find_gpu, load_library, tensorrt_version
from builder.tensorrt.network import HardwareCompatibility, PlanOptions, named_gpus
from builder.tensorrt.plan import Plan, compile_plan
from builder.tensorrt.timing_cache import DEFAULT_PATH
from builder.tensorrt.triton_releases import (
    Release,
    Version,
    compose_release,
    parse_version,
    preflight,
    release_named,
    version_text,
)
from builder.variants import VARIANTS, Engine, Precision

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from types import ModuleType

    import numpy as np
    from numpy.typing import NDArray

    from builder.signature import BatchSizes, Signature
    from builder.variants import Variant

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PlanBuilder:
    """A library, and a GPU where it needs one, ready to build for a certain server.

    Attributes:
        tensorrt: the library's module.
        gpu: that plans are built and verified on; None where they are built for GPUs that are not here.
        options: how.
        library: which one.
        unverified: why plans are not verified here; empty when they are.
    """

    tensorrt: ModuleType
    gpu: Gpu | None
    options: PlanOptions
    library: Library = TENSORRT
    unverified: str = ""

    def compile(self, onnx: bytes, batch_sizes: BatchSizes, precision: Precision) -> Plan:
        """Build a plan and, where there is a GPU for it, prove it (see `compile_plan`)."""
        if self.gpu:
            where = f"on {self.gpu.name} (compute capability {self.gpu.compute_capability})"
        else:
            named = self.options.compute_capabilities
            where = f"for compute capability {', '.join(named)}" if named else "for every GPU that it knows"
        pace = "" if self.library.portable else ": minutes"
        logger.info("building the plan with %s %s %s%s", self.library.name, self.tensorrt.__version__, where, pace)
        return compile_plan(
            self.tensorrt, self.gpu, onnx, batch_sizes, precision, self.options, library=self.library
        )  # fmt: skip

    def runner(self, plan: Plan, signature: Signature) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
        """A plan as a function of images, executed by TensorRT's own runtime on the GPU."""
        compatible = self.options.version_compatible
        loaded = LoadedPlan(self.tensorrt, plan.content, version_compatible=compatible, library=self.library)
        return loaded.runner(signature)


@dataclass(frozen=True)
class Server:
    """The Triton that a plan is built for.

    Attributes:
        name: for messages, as in "Triton 26.08".
        tensorrt: its version there.
        release: what else is in it; None where only its TensorRT was named.
    """

    name: str
    tensorrt: Version
    release: Release | None = None


def serving(release: str | None = None, tensorrt: str | None = None) -> Server:
    """The Triton that will serve: the one whose TensorRT or release is named, else the one that `make serve` starts.

    Raises:
        BuilderError: the release's TensorRT is not known.
    """
    if tensorrt:
        return Server("the server", parse_version(tensorrt))
    tag = release or os.environ.get("TRITON_RELEASE") or compose_release()
    known = release_named(tag)
    return Server(f"Triton {tag}", known.tensorrt, known)


def choose(
    variants: tuple[Variant, ...], arguments: argparse.Namespace, *, required: bool
) -> tuple[tuple[Variant, ...], dict[Engine, PlanBuilder]]:
    """Which of the variants can be built here, and what builds those that need a TensorRT.

    Args:
        variants: that were asked for.
        arguments: of `python -m builder build`.
        required: whether a plan that cannot be built is an error, and not a line and an ONNX model less.

    Raises:
        TensorRTError: plans are required and TensorRT or a GPU is missing; or TensorRT is here, and another version
            than the server's; or an option is given that none of the libraries has.
    """
    options = _options(arguments)
    engines = [engine for engine in LIBRARIES if any(variant.engine is engine for variant in variants)]
    if arguments.require_tensorrt and not engines:
        raise TensorRTError("--require-tensorrt, but none of the models is a TensorRT plan")
    _require_options([LIBRARIES[engine] for engine in engines], options, arguments)
    builders, missing = {}, set()
    for engine in engines:
        try:
            builders[engine] = prepare(
                options.kept_by(LIBRARIES[engine]), LIBRARIES[engine],
                ahead_of_time=arguments.compute_capability is not None,
            )  # fmt: skip
            _require_precisions(builders[engine], [variant for variant in variants if variant.engine is engine])
        except TensorRTError as error:
            if required:
                raise
            left_out = [variant.name for variant in variants if variant.engine is engine]
            logger.info("not built: %s: %s; to get it: %s", ", ".join(left_out), error, error.hint)
            missing.add(engine)
    if Engine.TENSORRT in builders:
        check_versions(builders[Engine.TENSORRT], serving(arguments.triton_release, arguments.serving_tensorrt))
    return tuple(variant for variant in variants if variant.engine not in missing), builders


def _require_options(libraries: list[Library], options: PlanOptions, arguments: argparse.Namespace) -> None:
    """An option that one of the libraries has is good; it does not reach the other one."""
    if len(libraries) == 1:
        options.require(libraries[0])
        if arguments.compute_capability is not None and not libraries[0].portable:
            raise TensorRTError(
                f"{libraries[0].name} has no --compute-capability: it builds for the GPU it runs on",
                "leave it out, or build resnet18_tensorrt_rtx, which can be built for GPUs that are not here",
            )


def _require_precisions(builder: PlanBuilder, variants: list[Variant]) -> None:
    """Say what a version cannot build before anything is built."""
    library, found = builder.library, tensorrt_version(builder.tensorrt)
    for variant in variants:
        if variant.precision is Precision.INT8 and found < library.int8_from:
            others = [one.name for one in VARIANTS.values() if one.engine is variant.engine and one is not variant]
            raise TensorRTError(
                f"{variant.name}: {library.name} {version_text(found)} builds no convolutions in INT8; "
                f"expected {version_text(library.int8_from)} or newer",
                f"install that, or build {' or '.join(others)} with the version that is here",
            )


def _options(arguments: argparse.Namespace) -> PlanOptions:
    return PlanOptions(
        workspace=arguments.workspace << 20,
        optimization_level=arguments.optimization_level,
        hardware_compatibility=HardwareCompatibility(arguments.hardware_compatibility),
        version_compatible=arguments.version_compatible,
        timing_cache=arguments.timing_cache or DEFAULT_PATH,
        compute_capabilities=arguments.compute_capability or (),
    )


def prepare(options: PlanOptions, library: Library = TENSORRT, *, ahead_of_time: bool = False) -> PlanBuilder:
    """Find a library, and a GPU.

    Args:
        options: how plans are to be built.
        library: which one.
        ahead_of_time: whether a portable library may build for GPUs that are not here.

    Raises:
        TensorRTError: one of them is missing or too old; the message says which.
    """
    tensorrt = load_library(library)
    named_gpus(tensorrt, options.compute_capabilities, library)
    gpu, unverified = _gpu_for(options, library, ahead_of_time)
    if gpu and gpu.compute_capability in library.only_named and not options.compute_capabilities:
        options = replace(options, compute_capabilities=(gpu.compute_capability,))
    return PlanBuilder(tensorrt, gpu, options, library, unverified)


def _gpu_for(options: PlanOptions, library: Library, ahead_of_time: bool) -> tuple[Gpu | None, str]:
    """The GPU to verify on, or None and why not."""
    named = options.compute_capabilities
    try:
        gpu = find_gpu()
    except TensorRTError as error:
        if ahead_of_time and library.portable:
            return None, "there is no GPU here"
        if library.portable:
            error.hint = "or build for GPUs that are not here: --compute-capability 8.6,8.9,12.0 (or: all)"
        raise
    if library.cuda and gpu.cuda and int(gpu.cuda.split(".")[0]) < library.cuda:
        raise TensorRTError(
            f"{library.name} needs a driver that runs CUDA {library.cuda}; this machine's runs {gpu.cuda}",
            "update the NVIDIA driver (R580 or newer runs CUDA 13)",
        )
    if named and gpu.compute_capability not in named:
        here = f"{gpu.name} of compute capability {gpu.compute_capability}"
        return None, f"it is for compute capability {', '.join(named)}, and here is {here}"
    return gpu, ""


def check_versions(builder: PlanBuilder, server: Server) -> None:
    """Stop before building what the server would refuse.

    Raises:
        TensorRTError: the versions do not fit.
    """
    installed = tensorrt_version(builder.tensorrt)
    preflight(installed, server.tensorrt, server.name, version_compatible=builder.options.version_compatible)
    logger.debug("TensorRT %s here, %s in %s", version_text(installed), version_text(server.tensorrt), server.name)
    driver = builder.gpu.cuda if builder.gpu else None
    if server.release and driver and int(driver.split(".")[0]) < int(server.release.cuda.split(".")[0]):
        logger.warning(
            "warning: %s holds CUDA %s and needs a driver of series R%d or newer; this machine's runs CUDA %s",
            server.name, server.release.cuda, server.release.min_driver, driver,
        )  # fmt: skip
