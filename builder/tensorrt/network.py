"""ONNX -> TensorRT network, with the optimization profile and the settings of its build."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from builder.errors import TensorRTError
from builder.tensorrt import timing_cache
from builder.tensorrt.library import TENSORRT, Library
from builder.variants import Precision

if TYPE_CHECKING:
    from types import ModuleType

    import tensorrt as trt

    from builder.signature import BatchSizes, Tensor


class HardwareCompatibility(str, enum.Enum):
    """On which GPUs a plan loads; anything but NONE may cost speed."""

    NONE = "none"
    AMPERE_PLUS = "ampere_plus"
    SAME_COMPUTE_CAPABILITY = "same_compute_capability"


@dataclass(frozen=True)
class PlanOptions:
    """How a plan is built.

    Attributes:
        workspace: bytes of GPU memory that a kernel may use beside its tensors.
        optimization_level: 0 (quick build) to 5 (slow build, perhaps a faster plan); TensorRT's default is 3.
        hardware_compatibility: on which GPUs the plan loads.
        version_compatible: whether newer runtimes of the same major version load it too. Such a plan carries the lean
            runtime inside; without it (EXCLUDE_LEAN_RUNTIME) Triton could not load it.
        timing_cache: a file kept between builds; None for none. A library without timing caches passes it over.
        compute_capabilities: GPUs to build for, as in "8.9", where a library is portable; empty for all that it builds
            for unless told otherwise.
    """

    workspace: int = 1 << 30
    optimization_level: int = 3
    hardware_compatibility: HardwareCompatibility = HardwareCompatibility.NONE
    version_compatible: bool = False
    timing_cache: Path | None = timing_cache.DEFAULT_PATH
    compute_capabilities: tuple[str, ...] = ()

    def kept_by(self, library: Library) -> PlanOptions:
        """These options without those that a library does not have."""
        return replace(
            self,
            hardware_compatibility=self.hardware_compatibility
            if library.hardware_compatibility
            else HardwareCompatibility.NONE,
            version_compatible=self.version_compatible and library.version_compatible,
            compute_capabilities=self.compute_capabilities if library.portable else (),
        )

    def require(self, library: Library) -> None:
        """Stop where a library does not have what is asked for.

        Raises:
            TensorRTError: it names the option and what to do instead.
        """
        hint = f"leave it out: {library.loads}"
        if self.hardware_compatibility is not HardwareCompatibility.NONE and not library.hardware_compatibility:
            raise TensorRTError(f"{library.name} has no --hardware-compatibility", hint)
        if self.version_compatible and not library.version_compatible:
            raise TensorRTError(f"{library.name} has no --version-compatible", hint)
        if self.compute_capabilities and not library.portable:
            raise TensorRTError(f"{library.name} has no --compute-capability: it builds for the GPU it runs on", hint)


@dataclass(frozen=True)
class ParsedNetwork:
    """A network and the parser that holds its weights, which must live as long."""

    network: trt.INetworkDefinition
    parser: trt.OnnxParser


def parse(tensorrt: ModuleType, builder: trt.Builder, log: trt.ILogger, onnx: bytes) -> ParsedNetwork:
    """Read an ONNX model into a strongly typed network: each tensor keeps the type that the graph gives it.

    TensorRT 11 has no other kind and ignores the flag; TensorRT 10 must be told.

    Raises:
        TensorRTError: the parser refused the model; every error is in the message, with its node.
    """
    strongly_typed = 1 << int(tensorrt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network: trt.INetworkDefinition = builder.create_network(strongly_typed)
    parser: trt.OnnxParser = tensorrt.OnnxParser(network, log)
    if not parser.parse(onnx):
        errors: list[trt.ParserError] = [parser.get_error(index) for index in range(parser.num_errors)]
        described = [_described(error) for error in errors] or ["the parser gave no reason"]
        raise TensorRTError(
            f"TensorRT's ONNX parser refused the model ({len(errors)} errors): {'; '.join(described)}",
            "a node that TensorRT does not know needs another export (builder/export/onnx_export.py)",
        )
    return ParsedNetwork(network, parser)


def _described(error: trt.ParserError) -> str:
    code: trt.ErrorCode = error.code()
    where = f"node '{error.node_name()}' ({error.node_operator()})" if error.node_name() else "no node named"
    return f"{where}: {code.name}: {error.desc()}"


def configure(
    tensorrt: ModuleType,
    builder: trt.Builder,
    options: PlanOptions,
    precision: Precision,
    tensor: Tensor,
    batch_sizes: BatchSizes,
    library: Library = TENSORRT,
) -> trt.IBuilderConfig:
    """The settings of a build: memory, effort, compatibility, one optimization profile, the timing cache.

    Raises:
        TensorRTError: TensorRT refused the profile or a compute capability, or the library lacks what is asked for.
    """
    options.require(library)
    if precision is Precision.FP32 and not library.strict_fp32:
        raise TensorRTError(
            f"{library.name} computes FP32 networks in TF32, and that cannot be switched off",
            "FP32 from another engine, or TF32 under its own name",
        )
    config: trt.IBuilderConfig = builder.create_builder_config()
    config.set_memory_pool_limit(tensorrt.MemoryPoolType.WORKSPACE, options.workspace)
    config.builder_optimization_level = options.optimization_level
    config.profiling_verbosity = tensorrt.ProfilingVerbosity.DETAILED  # or the inspector could not show the precisions
    if library.hardware_compatibility:
        config.hardware_compatibility_level = {
            HardwareCompatibility.NONE: tensorrt.HardwareCompatibilityLevel.NONE,
            HardwareCompatibility.AMPERE_PLUS: tensorrt.HardwareCompatibilityLevel.AMPERE_PLUS,
            HardwareCompatibility.SAME_COMPUTE_CAPABILITY: tensorrt.HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY,
        }[options.hardware_compatibility]
    if options.version_compatible:
        config.set_flag(tensorrt.BuilderFlag.VERSION_COMPATIBLE)
    if precision is Precision.FP32:
        config.clear_flag(tensorrt.BuilderFlag.TF32)  # on by default, and it keeps 10 of FP32's 23 bits
    _name_gpus(tensorrt, config, options.compute_capabilities, library)
    _add_profile(builder, config, tensor, batch_sizes)
    if library.timing_cache:
        timing_cache.attach(config, options.timing_cache)
    return config


def named_gpus(tensorrt: ModuleType, capabilities: tuple[str, ...], library: Library) -> list[trt.ComputeCapability]:
    """Compute capabilities as a portable library names them.

    Raises:
        TensorRTError: it does not know one of them; the hint lists those it does.
    """
    if not capabilities:
        return []
    known: dict[str, trt.ComputeCapability] = {
        f"{name[2:-1]}.{name[-1]}": member
        for name, member in tensorrt.ComputeCapability.__members__.items()
        if name.startswith("SM")
    }
    if unknown := [capability for capability in capabilities if capability not in known]:
        raise TensorRTError(
            f"{library.name} {tensorrt.__version__} builds for no compute capability {', '.join(unknown)}",
            f"it knows {', '.join(known)}",
        )
    return [known[capability] for capability in capabilities]


def _name_gpus(
    tensorrt: ModuleType, config: trt.IBuilderConfig, capabilities: tuple[str, ...], library: Library
) -> None:
    members = named_gpus(tensorrt, capabilities, library)
    if members:
        config.num_compute_capabilities = len(members)
    for index, capability in enumerate(capabilities):
        if not config.set_compute_capability(members[index], index):
            raise TensorRTError(f"{library.name} refused to build for compute capability {capability}")


def _add_profile(builder: trt.Builder, config: trt.IBuilderConfig, tensor: Tensor, batch_sizes: BatchSizes) -> None:
    shapes = [(size, *tensor.dims) for size in (batch_sizes.min, batch_sizes.opt, batch_sizes.max)]
    profile: trt.IOptimizationProfile = builder.create_optimization_profile()
    try:
        profile.set_shape(tensor.name, *shapes)
        reason = "" if config.add_optimization_profile(profile) >= 0 else "it is not valid for this network"
    except ValueError as error:
        reason = str(error)
    if reason:
        raise TensorRTError(
            f"TensorRT refused the optimization profile of input '{tensor.name}' "
            f"(min {shapes[0]}, opt {shapes[1]}, max {shapes[2]}): {reason}",
            "batch sizes come from BATCH_SIZES in builder/signature.py",
        )
