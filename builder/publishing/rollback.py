"""Going back to a version, or forward again: what is served, and the model's directory that has it served.

The directory is written anew beside the repository, with second names for its files, and exchanged in one step
(`Repository.roll_back`). In it the configurations and labels are those that were published with the version.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.errors import BuilderError, ChangedError
from builder.publishing.exchange import link, link_tree
from builder.publishing.versions import (
    CONFIG_FILE,
    PUBLISHED_FOLDER,
    VERSIONS_FILE,
    State,
    config_files,
    examine,
    published_versions,
    served_versions,
    versions_json,
)
from builder.triton_config import version_policy
from builder.triton_config.places import CONFIGS_FOLDER
from console.files import write_atomically
from console.triton_configuration import ConfigurationError, read

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RolledBack:
    """What a rollback does.

    Attributes:
        version: that is served after it.
        before: that were served until now; empty where no configuration says.
        later: versions after it that can be gone to; they and all others stay on the disk.
        changed: False where nothing else was served already.
        own_configuration: whether the version has the configuration that was published with it; else the one that is
            there stays.
    """

    version: int
    before: list[int]
    later: list[int]
    changed: bool
    own_configuration: bool


def goal(model_directory: Path, to: int | None) -> int:
    """The version to go to: `to`, or the one before the version that is served.

    Raises:
        BuilderError: there is no such version.
    """
    versions, name = published_versions(model_directory), model_directory.name
    holds = f"it holds {', '.join(map(str, versions))}" if versions else "it holds none"
    if to is not None:
        if to not in versions:
            raise BuilderError(f"{model_directory} holds no version {to}", holds)
        return to
    try:
        served = served_versions(model_directory)
    except ConfigurationError as error:
        raise BuilderError(
            f"{error}, so it does not say which version is served", f"name one: --to N; {holds}"
        ) from None
    if not served:
        raise BuilderError(f"{name}: no version is served by its {CONFIG_FILE}", f"name one: --to N; {holds}")
    earlier = [number for number in versions if number < served[-1]]
    if earlier:
        return earlier[-1]
    if len(versions) == 1:
        raise BuilderError(
            f"{name} has version {versions[0]} only, so there is none to go back to",
            "every build that changes the model publishes a version",
        )
    raise BuilderError(f"{name} has no version before {served[-1]}, which is served", f"--to N goes forward; {holds}")


def plan(model_directory: Path, to: int | None) -> RolledBack:
    """What a rollback would do.

    Raises:
        BuilderError: there is no such version, or it was not published by this project.
        ChangedError: its file is not the one that was published.
    """
    number = goal(model_directory, to)
    version = examine(model_directory, number)
    if version.state is State.CHANGED:
        raise ChangedError(f"{model_directory.name} version {number}: {version.problem}", "go to another, or build it")
    if version.state is not State.OK:
        raise BuilderError(
            f"{model_directory.name} version {number} was not published as that: {version.problem}",
            "go to a version that was, or build it again",
        )
    versions = published_versions(model_directory)
    served = [_served(path, versions) for path in config_files(model_directory)]
    return RolledBack(
        number,
        before=served[0] if served else [],
        later=[one for one in versions if one > number and examine(model_directory, one).state is State.OK],
        changed=not served or any(one != [number] for one in served),
        own_configuration=(version.directory / PUBLISHED_FOLDER).is_dir(),
    )


def _served(path: Path, versions: Sequence[int]) -> list[int]:
    try:
        return version_policy.served(read(path), versions)
    except ConfigurationError as error:
        logger.debug("%s", error)
        return []


def stage(model_directory: Path, staged: Path, number: int) -> None:
    """Write the model's directory as it is to be, with version `number` served.

    Raises:
        BuilderError: the version's configurations are damaged, or there are none.
    """
    published = model_directory / str(number) / PUBLISHED_FOLDER
    source = published if published.is_dir() else model_directory
    replaced = {CONFIG_FILE, CONFIGS_FOLDER} if source is published else set()
    paths = (path for path in published.rglob("*") if path.is_file()) if replaced else config_files(model_directory)
    files = {str(path.relative_to(source)): path.read_bytes() for path in paths}
    if CONFIG_FILE not in files:
        hint = f"remove {published} to keep the configuration that is there" if replaced else "build the model again"
        raise BuilderError(f"{source} holds no {CONFIG_FILE}", hint)
    try:
        files = bound(files, [number])
    except BuilderError as error:
        raise BuilderError(f"{source}: {error}", error.hint) from None
    staged.mkdir()
    for entry in model_directory.iterdir():
        if entry.name not in replaced:
            (link_tree if entry.is_dir() and not entry.is_symlink() else link)(entry, staged / entry.name)
    for name, data in files.items():
        write_atomically(staged / name, data)
    if not (staged / VERSIONS_FILE).exists():
        write_atomically(staged / VERSIONS_FILE, versions_json(published_versions(model_directory)[-1]))


def bound(files: Mapping[str, bytes], versions: Sequence[int]) -> dict[str, bytes]:
    """The files beside a model's versions, with configurations that serve exactly `versions`.

    Args:
        files: path in the model's directory -> content; config.pbtxt and those of single places among them.
        versions: to serve.

    Raises:
        BuilderError: one is not a configuration.
    """
    changed = dict(files)
    for name, data in files.items():
        if name == CONFIG_FILE or (name.startswith(f"{CONFIGS_FOLDER}/") and name.endswith(".pbtxt")):
            try:
                changed[name] = version_policy.bound(data, versions)
            except ConfigurationError as error:
                message = f"{name} is not a Triton model configuration: {error}"
                raise BuilderError(message, error.hint) from None
    return changed
