"""Model repositories as they lie on disk: one or several, as Triton takes them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from server.errors import ServerError
from server.selection.configuration import FILES, is_model
from server.triton.model_process import STUB

_SHELL_CHARACTER = re.compile(r"[^\w.+-]", re.ASCII)


def find_models(repositories: Sequence[Path]) -> dict[str, Path]:
    """The models of all repositories: name -> its directory.

    Raises:
        ServerError: a repository is missing, or is something else; all are empty; or a name lies in two of them.
    """
    found: dict[str, Path] = {}
    for repository in repositories:
        for name, directory in _models_of(repository).items():
            if name in found:
                raise ServerError(
                    f"{found[name].parent} and {repository} both hold a model '{name}', and Triton serves neither",
                    "rename or remove one of them",
                )
            found[name] = directory
    if not found:
        where = " and ".join(map(str, repositories))
        what = "repository" if len(repositories) == 1 else "repositories"
        holds = "holds" if len(repositories) == 1 else "hold"
        raise ServerError(f"the model {what} {where} {holds} no models", "make build-repo fills it")
    return found


def _models_of(repository: Path) -> dict[str, Path]:
    """The directories of a repository by their names, hidden ones aside that are no models."""
    if not repository.is_dir():
        raise ServerError(f"there is no model repository at {repository}", "make build-repo makes one")
    directories = sorted(path for path in repository.iterdir() if path.is_dir())
    if not any(map(is_model, directories)):
        _check_place(repository, directories)
    models = {path.name: path for path in directories if is_model(path) or not path.name.startswith(".")}
    for directory in models.values():
        _check_program(directory)
    return models


def _check_place(repository: Path, directories: Sequence[Path]) -> None:
    """What was given may be a model, a version of one, or what the repository lies in."""
    if (repository / "config.pbtxt").is_file():
        raise ServerError(f"{repository} is a model, not a model repository", f"--repository {repository.parent}")
    if any((repository / file).exists() for file in FILES):
        above = repository.resolve().parents
        raise ServerError(f"{repository} is a model's version, not a model repository", f"--repository {above[1]}")
    for directory in directories:
        if any(is_model(path) for path in directory.iterdir() if path.is_dir()):
            raise ServerError(f"{repository} holds no models, but {directory} does", f"--repository {directory}")


def _check_program(directory: Path) -> None:
    """Triton tries a model's own program for its process through a shell, whoever asks for the model and when."""
    if (directory / STUB).exists() and (strange := _SHELL_CHARACTER.search(directory.name)):
        raise ServerError(
            f"model '{directory.name}' brings its own {STUB}, which Triton starts through a shell, and its name holds "
            f"{strange[0]!r}",
            "rename the model: letters, digits, '.', '_', '+' and '-' are safe",
        )
