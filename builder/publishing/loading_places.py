"""Where a published model loads: a release of NVIDIA's container, or this machine; said before Triton has to fail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from builder.errors import BuilderError, TensorRTError
from builder.tensorrt.engine import LoadedPlan, invalidity
from builder.tensorrt.library import TENSORRT_RTX, Library
from builder.tensorrt.machine import Gpu, find_gpu, load_library, tensorrt_version
from builder.tensorrt.triton_releases import loads, parse_version, version_text

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    from builder.tensorrt.availability import Server

_FIRST_AMPERE = 8.0


@dataclass(frozen=True)
class Verdict:
    """Whether a place can load a model; `reason` says why not, or what was tried."""

    place: str
    loads: bool
    reason: str


def where_it_loads(path: Path, plan: dict[str, Any] | None, library: Library | None, server: Server) -> list[Verdict]:
    """Ask of a model's file where it loads.

    Args:
        path: the file.
        plan: what its provenance says of it, for a plan.
        library: what builds and loads it, for a plan; None for ONNX Runtime.
        server: the Triton that is to load it.

    Returns:
        one or more; the first is of the place that counts: that server, or this machine for a model that only this
        project's server loads.

    Raises:
        BuilderError: an ONNX model, and the server is not named by its release.
    """
    if not (library and plan):
        return [_by_onnx_runtime(path, server)]
    if library.portable:
        return [_here(path, plan, library), _no_container(library)]
    return [_by_version(plan, server), _here(path, plan, library)]


def _no_container(library: Library) -> Verdict:
    return Verdict("NVIDIA's container", False, f"it has no backend for {library.name}; keep it in its own repository")


def _by_version(plan: dict[str, Any], server: Server) -> Verdict:
    built_with = parse_version(plan["tensorrt"])
    place = f"{server.name} (TensorRT {version_text(server.tensorrt)})"
    if not loads(built_with, server.tensorrt, version_compatible=plan["version_compatible"]):
        return Verdict(place, False, f"it was built with TensorRT {version_text(built_with)}; build it again")
    if built_with != server.tensorrt:
        return Verdict(place, True, "when started with --backend-config=tensorrt,version-compatible=true")
    return Verdict(place, True, f"on {gpus(plan)}")


def _by_onnx_runtime(path: Path, server: Server) -> Verdict:
    """Whether a release's ONNX Runtime reads a model: both the file's format and its operators have versions."""
    if server.release is None:
        raise BuilderError("an ONNX model does not depend on TensorRT", "name the server with --triton-release YY.MM")
    from onnx import load

    release = server.release
    model = load(path)
    opset = {entry.domain: entry.version for entry in model.opset_import}.get("", 0)
    place = f"{server.name} (ONNX Runtime {release.onnx_runtime}, CPU or GPU)"
    found = f"the model has IR {model.ir_version} and opset {opset}, it reads {release.max_ir} and {release.max_opset}"
    return Verdict(place, model.ir_version <= release.max_ir and opset <= release.max_opset, found)


def gpus(plan: dict[str, Any]) -> str:
    """Which GPUs a plan is for, in words, by what its provenance says of it."""
    if named := plan.get("compute_capabilities"):
        return f"GPUs of compute capability {', '.join(named)}"
    if plan.get("library") == TENSORRT_RTX.name:
        return f"every GPU that version supports, but those of {', '.join(TENSORRT_RTX.only_named)}"
    return {
        "none": f"an {plan['gpu']}",
        "same_compute_capability": f"any GPU of compute capability {plan['compute_capability']}",
        "ampere_plus": "any GPU since Ampere",
    }[plan["hardware_compatibility"]]


def _here(path: Path, plan: dict[str, Any], library: Library) -> Verdict:
    """Whether this machine loads it: by its GPU and TensorRT, and then by loading it."""
    place = "this machine"
    try:
        tensorrt = load_library(library)
        if reason := _other_version(plan, tensorrt, library):
            return Verdict(place, False, reason)
        gpu = find_gpu()
        content = path.read_bytes()
        if not library.portable and not _fits(plan, gpu):
            return Verdict(place, False, f"it loads on {gpus(plan)}; here is an {gpu.name}")
        try:
            LoadedPlan(tensorrt, content, version_compatible=plan["version_compatible"], library=library)
        except TensorRTError as error:
            header = f"; by its header: {invalidity(tensorrt, content)}" if library.portable else ""
            where = f"this {gpu.name} (compute capability {gpu.compute_capability})"
            return Verdict(place, False, f"{error}{header}; it is for {gpus(plan)}, and here is {where}")
    except TensorRTError as error:
        return Verdict(place, False, str(error))
    return Verdict(place, True, f"loaded with {library.name} {tensorrt.__version__} on an {gpu.name}")


def _other_version(plan: dict[str, Any], tensorrt: ModuleType, library: Library) -> str:
    """What is installed here where that cannot load the plan; empty where it can."""
    installed = tensorrt_version(tensorrt)
    if library.exact_version:
        fits = plan["tensorrt"] == tensorrt.__version__
    else:
        fits = loads(parse_version(plan["tensorrt"]), installed, version_compatible=plan["version_compatible"])
    if fits:
        return ""
    return f"it was built with {library.name} {plan['tensorrt']}; here is {library.name} {tensorrt.__version__}"


def _fits(plan: dict[str, Any], gpu: Gpu) -> bool:
    if plan["hardware_compatibility"] == "ampere_plus":
        return float(gpu.compute_capability) >= _FIRST_AMPERE
    if plan["hardware_compatibility"] == "same_compute_capability":
        return bool(plan["compute_capability"] == gpu.compute_capability)
    return bool(plan["gpu"] == gpu.name)
