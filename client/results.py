"""Results as JSON: one file a run, with everything a reader needs to judge it; tables are made from it alone."""

from __future__ import annotations

import json
import math
import os
import platform
import re
import subprocess
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from client.connection import Model
from client.errors import ClientError
from console.files import write_atomically
from console.processor import instruction_set, model_name
from console.tensorrt_rtx import version_directory
from console.versions import git_revision, package_versions

SCHEMA = 2
_PACKAGES = ("tritonclient", "grpcio", "protobuf", "numpy", "scipy")


def environment() -> dict[str, Any]:
    """The machine the client runs on: processor and its integer extensions, cores, GPUs, system, versions."""
    return {
        "cpu": model_name(),
        "instruction_set": instruction_set(),
        "cores": len(os.sched_getaffinity(0)),
        "gpus": _gpus(),
        "system": re.sub(r"(\d+\.\d+\.\d+)-[\w.+-]+?(?=-(?:x86_64|aarch64))", r"\1", platform.platform()),
        "packages": package_versions(_PACKAGES),
        "git_revision": git_revision(),
    }


def provenance(repository: Path | None, model: Model) -> dict[str, Any] | None:
    """What the builder recorded beside the model; None where no repository is named or it holds no such file.

    Raises:
        ClientError: the file is there but is not JSON.
    """
    if repository is None:
        return None
    path = version_directory(repository, model.name, model.version) / "provenance.json"
    try:
        return dict(json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ClientError(f"{path} is not JSON: {error}", "build it again: make build-repo") from None


def document(command: str, **content: Any) -> dict[str, Any]:
    """A result with its environment.

    Args:
        command: which command measured.
        content: server, models, data, settings and figures.
    """
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    content = _without_nan(content)
    return {"schema": SCHEMA, "command": command, "created": now, **content, "environment": environment()}


def default_path(command: str, models: list[str]) -> Path:
    """Where a result goes that the user gave no name for."""
    return Path("results") / f"{command}-{'-vs-'.join(models)}.json"


def read(path: Path) -> dict[str, Any]:
    """Read a result.

    Raises:
        ClientError: the file is missing, is not JSON, or holds something else.
    """
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        raise ClientError(f"{path} does not exist", "measure first: make compare") from None
    except (ValueError, OSError) as error:
        raise ClientError(f"{path} cannot be read as a result: {error}") from None
    if not isinstance(content, dict) or "command" not in content:
        raise ClientError(f"{path} is not a result of this client", "expected a file that `python -m client` wrote")
    if content.get("schema") != SCHEMA:
        raise ClientError(
            f"{path} has schema {content.get('schema')}; this client reads {SCHEMA}", "measure again: make compare"
        )
    return content


def check_writable(path: Path) -> None:
    """Fail before a long measurement, not after it.

    Raises:
        ClientError: `path` cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise ClientError(f"cannot write {path}: {error.strerror}", "choose another place: --output FILE") from None
    if path.is_dir():
        raise ClientError(f"cannot write {path}: it is a directory", "name a file: --output FILE")


def write(path: Path, content: dict[str, Any]) -> None:
    """Write a result, whole or not at all.

    Raises:
        OSError: the disk is full or the directory cannot be written.
    """
    write_atomically(path, json.dumps(content, indent=2) + "\n")


def _gpus() -> list[str]:
    """Name and driver of each GPU of the client's machine, as nvidia-smi tells them."""
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        result = subprocess.run(  # noqa: S603  a fixed argument list
            command, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in result.stdout.splitlines() if line.strip()]


def _without_nan(value: Any) -> Any:
    """JSON has no NaN: what is unknown becomes null."""
    if isinstance(value, dict):
        return {name: _without_nan(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
