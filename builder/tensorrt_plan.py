"""ONNX -> TensorRT plan, proven to be what was asked for."""

from __future__ import annotations

import hashlib
import logging
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from builder.errors import PlanError, TensorRTError
from builder.signature import SIGNATURE, BatchPlan, Signature
from builder.tensorrt import proof, timing_cache
from builder.tensorrt.engine import LoadedPlan
from builder.tensorrt.log import create, errors_of, make_logger
from builder.tensorrt.machine import Gpu
from builder.tensorrt.network import PlanOptions, configure, parse
from builder.tensorrt.progress import Cancellation, build_progress, make_monitor
from builder.variants import Precision

if TYPE_CHECKING:
    from types import ModuleType

    import tensorrt as trt

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PlanInfo:
    """What a plan is; provenance.json carries it, and `python -m builder inspect` reads it there.

    Attributes:
        tensorrt: version that built it, and that loads it.
        cuda: of the process that built it.
        gpu: that it was built on.
        compute_capability: of that GPU, as in "9.0".
        precision: of its convolutions, as the engine inspector shows them.
        hardware_compatibility: "none" binds it to that GPU model.
        version_compatible: whether newer TensorRTs of the same major version load it.
        optimization_level: 0 to 5.
        workspace: bytes.
        profile: smallest, optimal and largest batch.
        onnx_sha256: of the model it was built from.
        plan_sha256: of its own bytes.
        plan_bytes: its size.
        layers_by_precision: how many layers of the engine handle which precisions.
        build_seconds: how long TensorRT took.
    """

    tensorrt: str
    cuda: str | None
    gpu: str
    compute_capability: str
    precision: str
    hardware_compatibility: str
    version_compatible: bool
    optimization_level: int
    workspace: int
    profile: tuple[int, int, int]
    onnx_sha256: str
    plan_sha256: str
    plan_bytes: int
    layers_by_precision: dict[str, int]
    build_seconds: float

    def as_json(self) -> dict[str, Any]:
        """For provenance.json."""
        return asdict(self)


@dataclass(frozen=True)
class Plan:
    """A serialised engine and what it is."""

    content: bytes
    info: PlanInfo


def compile_plan(
    tensorrt: ModuleType,
    gpu: Gpu,
    onnx: bytes,
    batch_plan: BatchPlan,
    precision: Precision,
    options: PlanOptions | None = None,
    signature: Signature = SIGNATURE,
) -> Plan:
    """Build a plan and prove it.

    Args:
        tensorrt: TensorRT 10 or 11, from `load_tensorrt`.
        gpu: the one it is built on, from `find_gpu`.
        onnx: a model whose graph is in `precision`, as `onnx_export.export` writes it.
        batch_plan: smallest, optimal and largest batch of the optimization profile.
        precision: what the convolutions must turn out to be.
        options: memory, effort, compatibility; None for the defaults.
        signature: what inputs and outputs must turn out to be.

    Raises:
        TensorRTError: TensorRT could not start, refused the model or the profile, or could not build.
        PlanError: the engine is not what was asked for.
        KeyboardInterrupt: the user interrupted the build.
    """
    options = options or PlanOptions()
    log: trt.ILogger = make_logger(tensorrt)
    builder: trt.Builder = create(tensorrt.Builder, log)
    parsed = parse(tensorrt, builder, log, onnx)
    config: trt.IBuilderConfig = configure(tensorrt, builder, options, precision, signature.input, batch_plan)
    start = time.monotonic()
    content = _build(tensorrt, builder, parsed.network, config, log)
    seconds = time.monotonic() - start
    timing_cache.keep(config, options.timing_cache)
    layers = prove(tensorrt, content, onnx, batch_plan, precision, options, signature)
    info = PlanInfo(
        tensorrt=tensorrt.__version__,
        cuda=gpu.cuda,
        gpu=gpu.name,
        compute_capability=gpu.compute_capability,
        precision=precision.value,
        hardware_compatibility=options.hardware_compatibility.value,
        version_compatible=options.version_compatible,
        optimization_level=options.optimization_level,
        workspace=options.workspace,
        profile=(batch_plan.min, batch_plan.opt, batch_plan.max),
        onnx_sha256=hashlib.sha256(onnx).hexdigest(),
        plan_sha256=hashlib.sha256(content).hexdigest(),
        plan_bytes=len(content),
        layers_by_precision=layers,
        build_seconds=round(seconds, 1),
    )
    return Plan(content, info)


def _build(
    tensorrt: ModuleType,
    builder: trt.Builder,
    network: trt.INetworkDefinition,
    config: trt.IBuilderConfig,
    log: trt.ILogger,
) -> bytes:
    cancellation = Cancellation()
    with build_progress() as progress:
        # TensorRT keeps only a pointer: the name keeps the monitor alive
        monitor: trt.IProgressMonitor = make_monitor(tensorrt, cancellation, progress)
        config.progress_monitor = monitor
        plan: trt.IHostMemory | None = cancellation.run(lambda: builder.build_serialized_network(network, config))
    if plan is None:
        raise TensorRTError(
            f"TensorRT could not build the plan: {errors_of(log)}",
            "out of memory: free the GPU or lower --workspace; --verbose shows TensorRT's whole log",
        )
    return bytes(plan)


def prove(
    tensorrt: ModuleType,
    content: bytes,
    onnx: bytes,
    batch_plan: BatchPlan,
    precision: Precision,
    options: PlanOptions,
    signature: Signature,
) -> dict[str, int]:
    """Load a plan as Triton will, and hold it against what was asked for.

    Returns:
        How many of its layers handle which precisions.

    Raises:
        PlanError: a convolution in another precision, or tensors or a profile other than signed.
    """
    loaded = LoadedPlan(tensorrt, content, version_compatible=options.version_compatible)
    inspection = loaded.inspect(signature.input.name, (batch_plan.opt, *signature.input.dims))
    problems = proof.tensor_problems(loaded.tensors(), signature, batch_plan)
    problems += proof.precision_problems(inspection, proof.convolution_names(onnx), precision)
    if problems:
        shown = "; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
        raise PlanError(
            f"TensorRT {tensorrt.__version__} built another plan than was asked for: {shown}",
            "it is not published; the last good version stays",
        )
    return inspection.layers_by_precision()
