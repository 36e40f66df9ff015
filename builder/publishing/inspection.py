"""What a published model is, and whether a Triton can load it: said before Triton has to fail."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from google.protobuf.json_format import MessageToDict

from builder.errors import BuilderError
from builder.publishing.loading_places import gpus, where_it_loads
from builder.publishing.versions import (
    CONFIG_FILE,
    PROVENANCE_FILE,
    closed,
    config_files,
    published_versions,
    served_versions,
)
from builder.tensorrt.library import LIBRARIES, TENSORRT_RTX, Library
from builder.triton_config.places import Place
from console import ExitCode, UserError, visible
from console.files import sha256_file
from console.triton_configuration import ConfigurationError, read, sentence, summary
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
        0 when that server can load them and answers right; 2 when it cannot, or answers wrong. Of a model that others
        built only the latter is known.

    Raises:
        UserError: the only model there, or its provenance, cannot be read. Of one among several that is said, and the
            others are looked at; the code is 1 where no other is worse.
    """
    models = _models(Path(os.path.abspath(directory)))  # noqa: PTH100  "." has no name, and a link keeps its own
    if len(models) == 1:
        return _inspect_one(models[0], server)
    codes: list[int] = []
    for model in models:
        try:
            codes.append(_inspect_one(model, server))
        except UserError as error:
            logger.warning("%s: %s; %s", model.name, visible(str(error)), visible(error.hint))
            codes.append(error.exit_code)
        except PermissionError as error:
            logger.warning("%s: %s", model.name, visible(closed(error)))
            codes.append(ExitCode.USER)
    return max(codes)


def _inspect_one(model: Path, server: Server) -> int:
    name = _model_of(model).name
    configs, unreadable = _configs(_model_of(model))
    faults = faults_of(configs)
    for fault in faults:
        logger.info("%s: %s", name, fault)
    if unreadable:
        if not faults:
            raise unreadable[0]
        for error in unreadable:
            logger.warning("%s: %s; %s", name, visible(str(error)), visible(error.hint))
        return ExitCode.GATE
    code: int = ExitCode.GATE if faults else ExitCode.DONE
    if configs and not _has_provenance(model):
        logger.info("%s: not built by this project (no %s)", name, PROVENANCE_FILE)
        return code
    code = max(code, inspect_model(model, server))
    _log_places(configs)
    return code


def _models(directory: Path) -> list[Path]:
    """The directory itself when it is a model or a version, else the models in it."""
    if config_files(directory) or (directory / PROVENANCE_FILE).is_file() or not directory.is_dir():
        return [directory]
    return [path for path in sorted(directory.iterdir()) if _is_model(path)] or [directory]


def _is_model(path: Path) -> bool:
    try:
        return bool(config_files(path))
    except PermissionError:  # said when it is looked at
        return True


def _model_of(directory: Path) -> Path:
    """A model's directory: the one that is given, or above the version that is."""
    above = directory.parent
    return above if not config_files(directory) and config_files(above) else directory


def _configs(model: Path) -> tuple[dict[str, ModelConfig], list[ConfigurationError]]:
    """A model's configurations by their paths in its directory, and what is wrong with those that are none."""
    found, unreadable = {}, []
    for path in config_files(model):
        try:
            found[str(path.relative_to(model))] = read(path)
        except ConfigurationError as error:
            unreadable.append(error)
    return found, unreadable


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
    if not versions or not config_files(directory):
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
