"""What a published model is, and whether a Triton can load it: said before Triton has to fail."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.errors import BuilderError, TensorRTError
from builder.repository import CONFIG_FILE, PROVENANCE_FILE, published_versions
from builder.tensorrt.engine import LoadedPlan
from builder.tensorrt.machine import Gpu, find_gpu, load_tensorrt, tensorrt_version
from builder.triton_config import parse
from builder.triton_releases import loads, parse_version, version_text
from builder.variants import Engine
from console import ExitCode
from console.files import sha256_file

if TYPE_CHECKING:
    from builder.plans import Server

logger = logging.getLogger(__name__)

_FIRST_AMPERE = 8.0


@dataclass(frozen=True)
class Verdict:
    """Whether a place can load a model; `reason` says why not, or what was tried."""

    place: str
    loads: bool
    reason: str


def inspect_model(directory: Path, server: Server) -> int:
    """Print what a model is and where it loads.

    Args:
        directory: the model's, or one of its versions'.
        server: the Triton that is to load it.

    Returns:
        0 when that server can load it; 2 when it cannot.

    Raises:
        BuilderError: there is no model, or it lacks its provenance.
    """
    version = _newest(directory)
    provenance = _provenance(version)
    path = version / provenance["file"]
    _log_facts(path, provenance)
    if provenance["engine"] == Engine.TENSORRT.value:
        verdicts = [_by_version(provenance["plan"], server), _here(path, provenance["plan"])]
    else:
        verdicts = [_by_onnx_runtime(path, server)]
    for verdict in verdicts:
        logger.info("  %-13s %s: %s", "loads on" if verdict.loads else "NOT on", verdict.place, verdict.reason)
    return ExitCode.DONE if verdicts[0].loads else ExitCode.GATE


def _newest(directory: Path) -> Path:
    if (directory / PROVENANCE_FILE).is_file():
        return directory
    versions = published_versions(directory)
    if not versions or not (directory / CONFIG_FILE).is_file():
        raise BuilderError(f"{directory} holds no published model", "as in: inspect model_repository/resnet18_tensorrt")
    parse((directory / CONFIG_FILE).read_text())
    return directory / str(versions[-1])


def _provenance(version: Path) -> dict[str, Any]:
    path = version / PROVENANCE_FILE
    try:
        provenance: dict[str, Any] = json.loads(path.read_text())
        needed = {"model", "version", "file", "sha256", "engine", "precision", "built"}
        needed |= {"plan"} if provenance.get("engine") == Engine.TENSORRT.value else set()
        missing = sorted(needed - set(provenance))
    except (OSError, ValueError, AttributeError) as error:
        raise BuilderError(f"{path} cannot be read: {error}", "build the model again: make build-repo") from None
    if missing:
        raise BuilderError(f"{path} lacks {', '.join(missing)}", "build the model again: make build-repo")
    return provenance


def _log_facts(path: Path, provenance: dict[str, Any]) -> None:
    facts = {
        "model": f"{provenance['model']} version {provenance['version']} ({path})",
        "precision": provenance["precision"],
        "built": provenance["built"],
        "sha256": provenance["sha256"],
    }
    if path.is_file() and sha256_file(path) != provenance["sha256"]:
        raise BuilderError(f"{path} is not the file that was published (another SHA-256)", "build it again")
    if plan := provenance.get("plan"):
        facts |= {
            "TensorRT": plan["tensorrt"],
            "GPU": f"{plan['gpu']}, compute capability {plan['compute_capability']}",
            "compatible": f"hardware: {plan['hardware_compatibility']}; "
            f"newer TensorRTs: {'yes' if plan['version_compatible'] else 'no'}",
            "batch": " / ".join(map(str, plan["profile"])) + " (min / opt / max)",
            "layers": ", ".join(f"{count} {kind}" for kind, count in plan["layers_by_precision"].items()),
        }
    for name, value in facts.items():
        logger.info("  %-13s %s", name, value)


def _by_version(plan: dict[str, Any], server: Server) -> Verdict:
    built_with = parse_version(plan["tensorrt"])
    place = f"{server.name} (TensorRT {version_text(server.tensorrt)})"
    if not loads(built_with, server.tensorrt, version_compatible=plan["version_compatible"]):
        return Verdict(place, False, f"it was built with TensorRT {version_text(built_with)}; build it again")
    if built_with != server.tensorrt:
        return Verdict(place, True, "when started with --backend-config=tensorrt,version-compatible=true")
    return Verdict(place, True, f"on {_gpus(plan)}")


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


def _gpus(plan: dict[str, Any]) -> str:
    return {
        "none": f"an {plan['gpu']}",
        "same_compute_capability": f"any GPU of compute capability {plan['compute_capability']}",
        "ampere_plus": "any GPU since Ampere",
    }[plan["hardware_compatibility"]]


def _here(path: Path, plan: dict[str, Any]) -> Verdict:
    """Whether this machine loads it: by its GPU and TensorRT, and then by loading it."""
    place = "this machine"
    try:
        tensorrt, gpu = load_tensorrt(), find_gpu()
        if not _fits(plan, gpu):
            return Verdict(place, False, f"it loads on {_gpus(plan)}; here is an {gpu.name}")
        installed = tensorrt_version(tensorrt)
        if not loads(parse_version(plan["tensorrt"]), installed, version_compatible=plan["version_compatible"]):
            return Verdict(place, False, f"here is TensorRT {version_text(installed)}")
        LoadedPlan(tensorrt, path.read_bytes(), version_compatible=plan["version_compatible"])
    except TensorRTError as error:
        return Verdict(place, False, str(error))
    return Verdict(place, True, f"loaded with TensorRT {tensorrt.__version__} on an {gpu.name}")


def _fits(plan: dict[str, Any], gpu: Gpu) -> bool:
    if plan["hardware_compatibility"] == "ampere_plus":
        return float(gpu.compute_capability) >= _FIRST_AMPERE
    if plan["hardware_compatibility"] == "same_compute_capability":
        return bool(plan["compute_capability"] == gpu.compute_capability)
    return bool(plan["gpu"] == gpu.name)
