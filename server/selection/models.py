"""Which models of a repository this machine can serve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from console.triton_configuration import ConfigurationError, read
from console.triton_faults import faults_of
from server.errors import ServerError
from server.selection.configuration import ENSEMBLE, backend_of, is_model
from server.selection.places import config_file, config_files, has_gpu
from server.selection.repositories import find_models
from server.triton import backend_folders

_CONTAINER = "NVIDIA's container may serve it: make serve"
_COMPLETE = "--auto-complete-config has Triton complete it from the model"
_REWRITE = "correct it, or build the model again: make build-repo"
_ALLOW = "--allow-changed"
"""In a backend's words on a changed model: they say already what to do."""

_RENAME = "rename its directory"


@dataclass(frozen=True)
class Reason:
    """Why a model is not served.

    Attributes:
        text: the reason.
        hint: what to do about it; empty where the reason says it.
    """

    text: str
    hint: str = ""


@dataclass(frozen=True)
class Selection:
    """The models to load, and why the others are left out.

    Attributes:
        served: model names.
        reasons: model name -> reason.
        wanted: the names that were asked for; empty for all that can be served.
        faults: model name -> what its configurations bring out in released versions of Triton.
        plain: served models that have no configuration of the wanted name, so that config.pbtxt is read.
    """

    served: tuple[str, ...]
    reasons: dict[str, Reason] = field(default_factory=dict)
    wanted: tuple[str, ...] = ()
    faults: dict[str, list[str]] = field(default_factory=dict)
    plain: tuple[str, ...] = ()

    @property
    def left_out(self) -> dict[str, str]:
        """Model name -> the reason's text."""
        return {name: reason.text for name, reason in self.reasons.items()}

    def without(self, refused: dict[str, str]) -> Selection:
        """The selection after Triton has refused to load some.

        Raises:
            ServerError: one of them was asked for, or no other is left.
        """
        hints = {name: "" if _ALLOW in text else "--verbose shows Triton's whole log" for name, text in refused.items()}
        reasons = self.reasons | {name: Reason(text, hints[name]) for name, text in refused.items()}
        served = tuple(name for name in self.served if name not in refused)
        plain = tuple(name for name in self.plain if name not in refused)
        return replace(self, served=served, reasons=reasons, plain=plain).checked()

    def checked(self) -> Selection:
        """The selection itself.

        Raises:
            ServerError: a model that was asked for cannot be served, or none can.
        """
        missing = [name for name in self.wanted if name in self.reasons] or ([] if self.served else list(self.reasons))
        if not missing:
            return self
        hints = dict.fromkeys(self.reasons[name].hint for name in missing if self.reasons[name].hint)
        raise ServerError("; ".join(f"{name}: {self.reasons[name].text}" for name in missing), "; ".join(hints))


def select_models(
    repositories: Path | Sequence[Path],
    wanted: Sequence[str] = (),
    *,
    auto_complete: bool = False,
    config_name: str = "",
) -> Selection:
    """Look through model repositories.

    Args:
        repositories: their directories, or that of one.
        wanted: names to serve; empty for all that this machine can.
        auto_complete: Triton will complete configurations from the models, so an ONNX model may lack one.
        config_name: which of a model's configurations is read; config.pbtxt of a model that lacks it, and where empty.

    Raises:
        ServerError: no such repository, no model in any, a name in two of them, or a wanted model that is missing or
            cannot be served here.
    """
    paths = [repositories] if isinstance(repositories, Path) else list(repositories)
    models = find_models(paths)
    for name in wanted:
        if name not in models:
            where = ", ".join(map(str, paths))
            one = len(paths) == 1
            raise ServerError(
                f"{where} {'holds' if one else 'hold'} no model '{name}'",
                f"{'it holds' if one else 'they hold'}: {', '.join(sorted(models))}",
            )
    examined = _Examined(models, auto_complete, config_name)
    chosen = list(dict.fromkeys(wanted)) or list(models)
    reasons = {name: reason for name in chosen if (reason := examined.why_not(name))}
    served = tuple(name for name in chosen if name not in reasons)
    plain = tuple(name for name in served if config_name and not _own_config(models[name], config_name))
    return Selection(served, reasons, tuple(wanted), _faults({name: models[name] for name in chosen}), plain).checked()


def _own_config(directory: Path, name: str) -> bool:
    return config_file(directory, name) != directory / "config.pbtxt"


def _faults(models: Mapping[str, Path]) -> dict[str, list[str]]:
    """Of served models and of those left out, in every configuration: the repository goes to the container as it is."""
    found = {}
    for name, directory in models.items():
        configs, unreadable = _configs(directory)
        if faults := [*faults_of(configs), *unreadable]:
            found[name] = faults
    return found


def _configs(directory: Path) -> tuple[dict[str, Any], list[str]]:
    """A model's configurations by their paths in its directory, and what is wrong with those that are none."""
    configs, unreadable = {}, []
    for path in config_files(directory):
        try:
            configs[str(path.relative_to(directory))] = read(path)
        except ConfigurationError as error:
            unreadable.append(f"{error}; {error.hint}")
    return configs, unreadable


class _Examined:
    """Models, each looked at once.

    Args:
        models: name -> its directory; of all repositories, for an ensemble's steps may lie in another one.
        auto_complete: Triton will complete configurations.
        config_name: which configurations are read.
    """

    def __init__(self, models: Mapping[str, Path], auto_complete: bool, config_name: str) -> None:
        self._config_name = config_name
        self._models = models
        self._auto_complete = auto_complete
        self._found: dict[str, Reason | None] = {}

    def why_not(self, name: str) -> Reason | None:
        """Why this machine cannot serve a model; None where it can."""
        if name not in self._found:
            self._found[name] = None  # an ensemble that contains itself: Triton says so
            self._found[name] = self._look_at(name)
        return self._found[name]

    def _look_at(self, name: str) -> Reason | None:
        directory = self._models[name]
        if reason := _why_not_by_name(name):
            return reason
        path = config_file(directory, self._config_name)
        has_file = path.is_file()
        if not has_file and not is_model(directory):
            return Reason("it has no config.pbtxt, and no version with a model", "")
        try:
            config = read(path)
        except ConfigurationError as error:
            return Reason(str(error), error.hint)
        backend = backend_of(config, directory)
        if backend == ENSEMBLE:
            return self._why_not_ensemble(config)
        reason = _why_not_backend(config, backend, directory)
        return reason or self._why_not_incomplete(config, backend, has_file)

    def _why_not_ensemble(self, config: Any) -> Reason | None:
        for step in config.ensemble_scheduling.step:
            if step.model_name not in self._models:
                return Reason(
                    f"its step '{step.model_name}' is a model that the repository does not hold", "add the model"
                )
            if reason := self.why_not(step.model_name):
                return Reason(f"its step '{step.model_name}' is not served: {reason.text}", reason.hint)
        return None

    def _why_not_incomplete(self, config: Any, backend: str, has_file: bool) -> Reason | None:
        if self._auto_complete:
            return None
        if not has_file:
            return Reason("it has no config.pbtxt", _COMPLETE)
        if backend == "onnxruntime" and not ((config.input or config.batch_input) and config.output):
            return Reason("its config.pbtxt names no inputs or no outputs", _COMPLETE)
        return None


def _why_not_backend(config: Any, backend: str, directory: Path) -> Reason | None:
    if backend not in ("python", *backend_folders.present()):
        known = f"no {backend} backend" if backend else "no backend for it: its config.pbtxt names none"
        ways = [backend_folders.INSTALL[backend]] if backend in backend_folders.INSTALL else []
        if backend not in backend_folders.HERE_ALONE:
            ways += _in_container(directory)
        return Reason(f"the embedded server has {known}", "; ".join(ways) if backend else _REWRITE)
    groups = list(config.instance_group)
    if groups and all(group.kind == group.KIND_GPU for group in groups) and not has_gpu():
        return Reason(
            "its instances are KIND_GPU and this machine has no NVIDIA GPU", "; ".join(_in_container(directory))
        )
    return None


def _in_container(directory: Path) -> list[str]:
    """That NVIDIA's container may serve a model; where it would answer wrong, or end, that and what to change."""
    return faults_of(_configs(directory)[0]) or [_CONTAINER]


def _why_not_by_name(name: str) -> Reason | None:
    if name == "*":
        return Reason("its name is Triton's own for all models", _RENAME)
    try:
        name.encode()
    except UnicodeEncodeError:
        return Reason("its name is not UTF-8 text, which the protocol needs", _RENAME)
    if strange := next((character for character in name if not character.isprintable()), ""):
        return Reason(f"its name holds {strange!r}, which no log and no message can show", _RENAME)
    return None
