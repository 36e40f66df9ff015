"""Which models of a repository this machine can serve."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from server.errors import ServerError

if TYPE_CHECKING:
    from collections.abc import Sequence

SERVED_BACKENDS = ("onnxruntime", "python")
"""What the embedded server holds; the container holds many more."""

_PLATFORM_BACKENDS = {"onnxruntime_onnx": "onnxruntime", "tensorrt_plan": "tensorrt"}
"""Triton derives the backend from the platform so (core, `AutoCompleteBackendFields`)."""


@dataclass(frozen=True)
class Selection:
    """The models to load, and why the others are left out.

    Attributes:
        served: model names.
        left_out: model name -> reason.
    """

    served: tuple[str, ...]
    left_out: dict[str, str] = field(default_factory=dict)


def select_models(repository: Path, wanted: Sequence[str] = (), *, auto_complete: bool = False) -> Selection:
    """Look through a model repository.

    Args:
        repository: its directory.
        wanted: names to serve; empty for all that this machine can.
        auto_complete: Triton will complete configurations from the models, so an ONNX model may lack one.

    Raises:
        ServerError: no such repository, no model in it, an unreadable configuration, or a wanted model that is
            missing or cannot be served here.
    """
    if not repository.is_dir():
        raise ServerError(f"there is no model repository at {repository}", "make build-repo makes one")
    names = sorted(path.name for path in repository.iterdir() if path.is_dir())
    if not names:
        raise ServerError(f"the model repository {repository} holds no models", "make build-repo fills it")
    for name in wanted:
        if name not in names:
            raise ServerError(f"{repository} holds no model '{name}'", f"it holds: {', '.join(names)}")
    chosen = list(dict.fromkeys(wanted)) or names
    reasons = {name: _why_not(repository / name, auto_complete) for name in chosen}
    left_out = {name: reason for name, reason in reasons.items() if reason}
    served = tuple(name for name in chosen if name not in left_out)
    refused = [name for name in wanted if name in left_out] or ([] if served else list(left_out))
    if refused:
        raise ServerError(
            f"{', '.join(f'{name}: {left_out[name]}' for name in refused)}",
            "this machine cannot serve it; NVIDIA's container may: make serve",
        )
    return Selection(served, left_out)


def _why_not(directory: Path, auto_complete: bool) -> str:
    """Why this machine cannot serve the model in `directory`; empty when it can."""
    path = directory / "config.pbtxt"
    is_onnx = auto_complete and any(directory.glob("[0-9]*/model.onnx"))
    if not path.is_file():
        return "" if is_onnx else "it has no config.pbtxt"
    config = _parse(path)
    backend = config.backend or _PLATFORM_BACKENDS.get(config.platform, config.platform)  # type: ignore[attr-defined]
    backend = backend or ("onnxruntime" if is_onnx else "")
    if backend not in SERVED_BACKENDS:
        return f"the embedded server has no {backend or 'named'} backend"
    groups = list(config.instance_group)  # type: ignore[attr-defined]
    if groups and all(group.kind == group.KIND_GPU for group in groups) and not _has_gpu():
        return "its instances are KIND_GPU and this machine has no NVIDIA GPU"
    return ""


def _parse(path: Path) -> object:
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    try:
        return text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ServerError(
            f"{path} is not a Triton model configuration: {error}", "build it again: make build-repo"
        ) from None


def _has_gpu() -> bool:
    return any(Path("/dev").glob("nvidia[0-9]*"))
