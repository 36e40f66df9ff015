"""What a published model is, and whether a Triton can load it: said before Triton has to fail."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.text_format import ParseError

from builder.errors import BuilderError
from builder.publishing.loading_places import gpus, where_it_loads
from builder.publishing.versions import CONFIG_FILE, PROVENANCE_FILE, published_versions, served_versions
from builder.tensorrt.library import LIBRARIES, TENSORRT_RTX, Library
from builder.triton_config.config_pbtxt import parse
from builder.triton_config.places import CONFIGS_FOLDER, Place
from console import ExitCode, visible
from console.files import sha256_file
from console.triton_configuration import BYTE_ORDER_MARK, sentence, summary, without_mark
from console.triton_faults import faults_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tritonclient.grpc.model_config_pb2 import ModelConfig

    from builder.tensorrt.availability import Server

logger = logging.getLogger(__name__)


def inspect_all(directory: Path, server: Server) -> int:
    """Print what a model, or every model of a repository, is, where it loads, and whether its answers will be right.

    Args:
        directory: a repository, a model in it, or one of a model's versions.
        server: the Triton that is to load it.

    Returns:
        0 when that server can load them and answers right; 2 when it cannot, or answers wrong.

    Raises:
        BuilderError: the only model there cannot be read or lacks its provenance. Of one among several that is said,
            and the others are looked at; the code is 1 where no other is worse.
    """
    models = _models(directory)
    if len(models) == 1:
        return _inspect_one(models[0], server, alone=True)
    codes = []
    for model in models:
        try:
            codes.append(_inspect_one(model, server, alone=False))
        except BuilderError as error:
            logger.warning("%s: %s; %s", model.name, visible(str(error)), visible(error.hint))
            codes.append(error.exit_code)
    return max(codes)


def _inspect_one(model: Path, server: Server, *, alone: bool) -> int:
    configs = _configs(model)
    faults = faults_of(configs)
    for fault in faults:
        logger.info("%s: %s", model.name, fault)
    code: int = ExitCode.GATE if faults else ExitCode.DONE
    if not alone and not _has_provenance(model):
        logger.info("%s: not built by this project (no %s)", model.name, PROVENANCE_FILE)
    elif not faults or _has_provenance(model):
        code = max(code, inspect_model(model, server))
        _log_places(configs)
    return code


def _models(directory: Path) -> list[Path]:
    """The directory itself when it is a model or a version, else the models in it."""
    if (directory / CONFIG_FILE).is_file() or (directory / PROVENANCE_FILE).is_file() or not directory.is_dir():
        return [directory]
    return sorted(path.parent for path in directory.glob(f"*/{CONFIG_FILE}")) or [directory]


def _configs(directory: Path) -> dict[str, ModelConfig]:
    """Every configuration of a model, or of a version's model, by its path in the model's directory."""
    model = next((place for place in (directory, directory.parent) if (place / CONFIG_FILE).is_file()), None)
    if model is None:
        return {}
    found = {}
    for path in (model / CONFIG_FILE, *sorted((model / CONFIGS_FOLDER).glob("*.pbtxt"))):
        try:
            text = path.read_text(encoding="utf-8")
            if text.startswith(BYTE_ORDER_MARK):
                raise BuilderError(f"{path} begins with a byte-order mark, which Triton does not read",
                                   without_mark(path))  # fmt: skip
            found[str(path.relative_to(model))] = parse(text)
        except (ParseError, UnicodeDecodeError, OSError) as error:
            message = f"{path} is not a Triton model configuration: {error}"
            raise BuilderError(message, "correct it, or build it") from None
    return found


def _log_places(configs: Mapping[str, ModelConfig]) -> None:
    """Which configuration is read in each place, and what it says; those of other names too."""
    files = {place.value or "no name": place.file for place in Place}
    known = set(files.values())
    files |= {Path(path).stem: path for path in configs if path not in known}
    for name, file in files.items():
        path = file if file in configs else CONFIG_FILE
        if path in configs:
            said = sentence(summary(MessageToDict(configs[path], preserving_proto_field_name=True)))
            logger.info("  %-13s %s: %s", name, path, said)


def _has_provenance(directory: Path) -> bool:
    versions = published_versions(directory)
    places = [directory, *(directory / str(version) for version in versions[-1:])]
    return any((place / PROVENANCE_FILE).is_file() for place in places)


def inspect_model(directory: Path, server: Server) -> int:
    """Print what a model is and where it loads.

    Args:
        directory: the model's, or one of its versions'.
        server: the Triton that is to load it.

    Returns:
        0 when that server can load it; 2 when it cannot. For a model that only this project's server loads, that is
        the one of this machine.

    Raises:
        BuilderError: there is no model, or it lacks its provenance.
    """
    version = _newest(directory)
    provenance = _provenance(version)
    path = version / provenance["file"]
    _log_facts(path, provenance)
    verdicts = where_it_loads(path, provenance.get("plan"), _library(provenance), server)
    for verdict in verdicts:
        logger.info("  %-13s %s: %s", "loads on" if verdict.loads else "NOT on", verdict.place, verdict.reason)
    return ExitCode.DONE if verdicts[0].loads else ExitCode.GATE


def _newest(directory: Path) -> Path:
    if (directory / PROVENANCE_FILE).is_file():
        return directory
    versions = published_versions(directory)
    if not versions or not (directory / CONFIG_FILE).is_file():
        raise BuilderError(f"{directory} holds no published model", "as in: inspect model_repository/resnet18_tensorrt")
    versions = served_versions(directory) or versions
    return directory / str(versions[-1])


def _provenance(version: Path) -> dict[str, Any]:
    path = version / PROVENANCE_FILE
    try:
        provenance: dict[str, Any] = json.loads(path.read_text())
        needed = {"model", "version", "file", "sha256", "engine", "precision", "built"}
        needed |= {"plan"} if _library(provenance) else set()
        missing = sorted(needed - set(provenance))
    except (OSError, ValueError, AttributeError) as error:
        raise BuilderError(f"{path} cannot be read: {error}", "build the model again: make build-repo") from None
    if missing:
        raise BuilderError(f"{path} lacks {', '.join(missing)}", "build the model again: make build-repo")
    return provenance


def _library(provenance: dict[str, Any]) -> Library | None:
    """What builds and loads the model, if it is a plan."""
    return next((library for engine, library in LIBRARIES.items() if engine.value == provenance.get("engine")), None)


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
        facts |= _plan_facts(plan)
        if reason := provenance.get("verification", {}).get("not_verified"):
            facts["NOT verified"] = f"{reason}; the server checks it when it loads it"
    for name, value in facts.items():
        logger.info("  %-13s %s", name, value)


def _plan_facts(plan: dict[str, Any]) -> dict[str, str]:
    facts = {"built with": f"{plan.get('library', 'TensorRT')} {plan['tensorrt']}"}
    if plan["gpu"]:
        facts["GPU"] = f"{plan['gpu']}, compute capability {plan['compute_capability']}"
    if plan.get("library") == TENSORRT_RTX.name:
        facts["for"] = gpus(plan)
    else:
        newer = "yes" if plan["version_compatible"] else "no"
        facts["compatible"] = f"hardware: {plan['hardware_compatibility']}; newer TensorRTs: {newer}"
    facts["batch"] = " / ".join(map(str, plan["profile"])) + " (min / opt / max)"
    if plan["layers_by_precision"]:
        facts["layers"] = ", ".join(f"{count} {kind}" for kind, count in plan["layers_by_precision"].items())
    return facts
