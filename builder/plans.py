"""Whether a TensorRT plan can be built here for the server that will load it, and building it."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.errors import TensorRTError
from builder.tensorrt.engine import LoadedPlan
from builder.tensorrt.machine import Gpu, driver_series, find_gpu, load_tensorrt, tensorrt_version
from builder.tensorrt.network import HardwareCompatibility, PlanOptions
from builder.tensorrt.timing_cache import DEFAULT_PATH
from builder.tensorrt_plan import Plan, compile_plan
from builder.triton_releases import (
    Release,
    Version,
    compose_release,
    parse_version,
    preflight,
    release_named,
    version_text,
)
from builder.variants import Engine

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from types import ModuleType

    import numpy as np
    from numpy.typing import NDArray

    from builder.signature import BatchPlan, Signature
    from builder.variants import Precision, Variant

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PlanBuilder:
    """TensorRT and a GPU, ready to build for a certain server.

    Attributes:
        tensorrt: the module.
        gpu: that plans are built on.
        options: how.
    """

    tensorrt: ModuleType
    gpu: Gpu
    options: PlanOptions

    def compile(self, onnx: bytes, batch_plan: BatchPlan, precision: Precision) -> Plan:
        """Build a plan and prove it (see `compile_plan`)."""
        where = f"{self.gpu.name} (compute capability {self.gpu.compute_capability})"
        logger.info("building the plan with TensorRT %s on %s: minutes", self.tensorrt.__version__, where)
        return compile_plan(self.tensorrt, self.gpu, onnx, batch_plan, precision, self.options)

    def runner(self, plan: Plan, signature: Signature) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
        """A plan as a function of images, executed by TensorRT's own runtime on the GPU."""
        loaded = LoadedPlan(self.tensorrt, plan.content, version_compatible=self.options.version_compatible)
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
) -> tuple[tuple[Variant, ...], PlanBuilder | None]:
    """Which of the variants can be built here, and TensorRT where one of them needs it.

    Args:
        variants: that were asked for.
        arguments: of `python -m builder build`.
        required: whether a plan that cannot be built is an error, and not a line and an ONNX model less.

    Raises:
        TensorRTError: plans are required and TensorRT or a GPU is missing; or TensorRT is here, and another version
            than the server's.
    """
    options = _options(arguments)
    if all(variant.engine is not Engine.TENSORRT for variant in variants):
        if arguments.require_tensorrt:
            raise TensorRTError("--require-tensorrt, but none of the models is a TensorRT plan")
        return variants, None
    try:
        plans = prepare(options)
    except TensorRTError as error:
        if required:
            raise
        left_out = [variant.name for variant in variants if variant.engine is Engine.TENSORRT]
        logger.info("not built: %s: %s; to get it: %s", ", ".join(left_out), error, error.hint)
        return tuple(variant for variant in variants if variant.engine is not Engine.TENSORRT), None
    check_versions(plans, serving(arguments.triton_release, arguments.serving_tensorrt))
    return variants, plans


def _options(arguments: argparse.Namespace) -> PlanOptions:
    return PlanOptions(
        workspace=arguments.workspace << 20,
        optimization_level=arguments.optimization_level,
        hardware_compatibility=HardwareCompatibility(arguments.hardware_compatibility),
        version_compatible=arguments.version_compatible,
        timing_cache=arguments.timing_cache or DEFAULT_PATH,
    )


def prepare(options: PlanOptions) -> PlanBuilder:
    """Find TensorRT and a GPU.

    Raises:
        TensorRTError: one of them is missing; the message says which.
    """
    return PlanBuilder(load_tensorrt(), find_gpu(), options)


def check_versions(builder: PlanBuilder, server: Server) -> None:
    """Stop before building what the server would refuse.

    Raises:
        TensorRTError: the versions do not fit.
    """
    installed = tensorrt_version(builder.tensorrt)
    preflight(installed, server.tensorrt, server.name, version_compatible=builder.options.version_compatible)
    logger.debug("TensorRT %s here, %s in %s", version_text(installed), version_text(server.tensorrt), server.name)
    driver = driver_series()
    if server.release and driver is not None and driver < server.release.min_driver:
        logger.warning(
            "warning: %s needs a driver of series R%d or newer; this machine has R%d",
            server.name, server.release.min_driver, driver,
        )  # fmt: skip
