"""ONNX -> TensorRT plan, proven to be what was asked for."""

from __future__ import annotations

import hashlib
import logging
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from builder.errors import PlanError, TensorRTError
from builder.signature import SIGNATURE, BatchSizes, Signature
from builder.tensorrt import proof, timing_cache
from builder.tensorrt.engine import LoadedPlan
from builder.tensorrt.library import TENSORRT, Library
from builder.tensorrt.log import begin_log, create, errors_of, remedy
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
        library: name of what built it, and alone loads it: "TensorRT" or "TensorRT for RTX".
        tensorrt: its version.
        proven: whether it was loaded on a GPU and inspected; False where it was built for GPUs that were not there.
        cuda: newest CUDA of the driver that it was built beside; None without a GPU.
        gpu: that it was built and proven on; None without one.
        compute_capability: of that GPU, as in "9.0".
        compute_capabilities: that it was built for by name; empty for all that a portable library builds for unless
            told otherwise, and for a library that builds for its own GPU.
        precision: of its convolutions: as the engine inspector shows them where it is proven, else as in the graph.
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

    library: str
    tensorrt: str
    proven: bool
    cuda: str | None
    gpu: str | None
    compute_capability: str | None
    compute_capabilities: tuple[str, ...]
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
    gpu: Gpu | None,
    onnx: bytes,
    batch_sizes: BatchSizes,
    precision: Precision,
    options: PlanOptions | None = None,
    signature: Signature = SIGNATURE,
    library: Library = TENSORRT,
) -> Plan:
    """Build a plan and prove it.

    Args:
        tensorrt: the library's module, from `load_library`.
        gpu: the one it is built and proven on, from `find_gpu`; None for a portable library without one, whose plan is
            then not proven.
        onnx: a model whose graph is in `precision`, as `onnx_export.export` writes it.
        batch_sizes: smallest, optimal and largest batch of the optimization profile.
        precision: what the convolutions must turn out to be.
        options: memory, effort, compatibility; None for the defaults.
        signature: what inputs and outputs must turn out to be.
        library: which one `tensorrt` is.

    Raises:
        TensorRTError: TensorRT could not start, refused the model or the profile, or could not build.
        PlanError: the engine is not what was asked for.
        KeyboardInterrupt: the user interrupted the build.
    """
    options = options or PlanOptions()
    log: trt.ILogger = begin_log(tensorrt)
    builder: trt.Builder = create(tensorrt.Builder, log)
    parsed = parse(tensorrt, builder, log, onnx)
    config: trt.IBuilderConfig = configure(tensorrt, builder, options, precision, signature.input, batch_sizes, library)
    start = time.monotonic()
    content = _build(tensorrt, builder, parsed.network, config, log)
    seconds = time.monotonic() - start
    if library.timing_cache:
        timing_cache.keep(config, options.timing_cache)
    layers: dict[str, int] = {}
    if gpu:
        layers = prove(tensorrt, content, onnx, batch_sizes, precision, options, signature, library)
    info = PlanInfo(
        library=library.name,
        tensorrt=tensorrt.__version__,
        proven=gpu is not None,
        cuda=gpu.cuda if gpu else None,
        gpu=gpu.name if gpu else None,
        compute_capability=gpu.compute_capability if gpu else None,
        compute_capabilities=options.compute_capabilities,
        precision=precision.value,
        hardware_compatibility=options.hardware_compatibility.value,
        version_compatible=options.version_compatible,
        optimization_level=options.optimization_level,
        workspace=options.workspace,
        profile=(batch_sizes.min, batch_sizes.opt, batch_sizes.max),
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
        reason = errors_of(log)
        raise TensorRTError(
            f"TensorRT could not build the plan: {reason}", remedy(reason, "--verbose shows its whole log")
        )
    return bytes(plan)


def prove(
    tensorrt: ModuleType,
    content: bytes,
    onnx: bytes,
    batch_sizes: BatchSizes,
    precision: Precision,
    options: PlanOptions,
    signature: Signature,
    library: Library = TENSORRT,
) -> dict[str, int]:
    """Load a plan as Triton will, and hold it against what was asked for.

    Returns:
        How many of its layers handle which precisions.

    Raises:
        PlanError: a convolution in another precision, or tensors or a profile other than signed.
    """
    loaded = LoadedPlan(tensorrt, content, version_compatible=options.version_compatible, library=library)
    inspection = loaded.inspect(signature.input.name, (batch_sizes.opt, *signature.input.dims))
    problems = proof.tensor_problems(loaded.tensors(), signature, batch_sizes)
    problems += proof.precision_problems(inspection, proof.convolution_names(onnx), precision)
    if problems:
        shown = "; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
        raise PlanError(
            f"{library.name} {tensorrt.__version__} built another plan than was asked for: {shown}",
            "it is not published; the last good version stays",
        )
    return inspection.layers_by_precision()
