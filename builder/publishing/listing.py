"""What lies in a repository: its models, their versions, and what is known of each."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from builder.errors import BuilderError
from builder.publishing.versions import (
    CONFIG_FILE,
    VERSIONS_FILE,
    Version,
    closed,
    examine,
    highest_number,
    misread,
    published_versions,
    served_versions,
)
from console.tensorrt_rtx import beside
from console.triton_configuration import ConfigurationError

logger = logging.getLogger(__name__)

_HEAD = ("version", "served", "SHA-256", "accuracy", "size", "age")


def models_in(repository: Path, names: Sequence[str]) -> list[Path]:
    """The directories of the named models, or of all, in a repository and the one for TensorRT for RTX beside it.

    Raises:
        BuilderError: there is no repository, none of them holds a model, or one lacks what was named.
    """
    places = [path for path in (repository.absolute(), beside(repository)) if path.is_dir()]
    if not places:
        raise BuilderError(f"{repository} is not a directory", "make build-repo fills it; --repository names another")
    if not names:
        found = [path for place in places for path in sorted(place.iterdir()) if _is_model(path)]
        if not found:
            raise BuilderError(f"{repository} holds no models", "make build-repo fills it")
        return found
    return [_named(places, name) for name in dict.fromkeys(names)]


def _named(places: Sequence[Path], name: str) -> Path:
    found = [place / name for place in places if Path(name).name == name and _is_model(place / name)]
    if not found:
        held = sorted({path.name for place in places for path in place.iterdir() if _is_model(path)})
        holds = f"it holds {', '.join(held)}" if held else "it holds none"
        raise BuilderError(f"{' and '.join(map(str, places))}: no model {name!r}", holds)
    if len(found) > 1:
        raise BuilderError(f"{' and '.join(map(str, found))} both exist, and no server takes both", "remove one")
    return found[0]


def _is_model(path: Path) -> bool:
    try:
        return path.is_dir() and ((path / CONFIG_FILE).is_file() or bool(published_versions(path)))
    except PermissionError:  # said when it is looked at
        return True


def list_versions(repository: Path, names: Sequence[str], now: datetime | None = None) -> None:
    """Print a table for each model: version, whether it is served, its file against provenance, accuracy, size, age.

    Args:
        repository: the one for TensorRT for RTX beside it is looked at too.
        names: of models; none for all.
        now: what ages are counted from; the time of the call by default.

    Raises:
        BuilderError: there is no such model.
    """
    for model in models_in(repository, names):
        logger.info("%s", model.name)
        try:
            _list_model(model, now or datetime.now(timezone.utc))
        except PermissionError as error:
            logger.info("  %s", closed(error))


def _list_model(model: Path, now: datetime) -> None:
    try:
        served, unknown = served_versions(model), ""
    except ConfigurationError as error:
        served, unknown = [], str(error)
    versions = [examine(model, number) for number in published_versions(model)]
    rows = [_HEAD, *(_row(version, served, bool(unknown), now) for version in versions)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        logger.info("  %s", "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    problems = [f"version {version.number}: {version.problem}" for version in versions if version.problem]
    for said in filter(None, (unknown, *problems)):
        logger.info("  %s", said)
    _say_numbers(model, [version.number for version in versions], served)


def _say_numbers(model: Path, versions: list[int], served: list[int]) -> None:
    for name in misread(model):
        logger.info("  warning: Triton takes the directory %r for a version, and cannot load it: rename it", name)
    if versions and served and served[-1] < versions[-1]:
        logger.info("  rolled back: requests that name no version are answered by %d", served[-1])
    try:
        highest = highest_number(model)
    except BuilderError as error:
        logger.info("  warning: %s", error)
        return
    if highest is not None and versions and highest < versions[-1]:
        logger.info("  warning: %s says that %d was the highest version", VERSIONS_FILE, highest)
    elif highest is not None and (not versions or highest > versions[-1]):
        logger.info("  the next version will be %d: %d was used before", highest + 1, highest)


def _row(version: Version, served: Sequence[int], unknown: bool, now: datetime) -> tuple[str, ...]:
    said = "?" if unknown else "yes" if version.number in served else "no"
    return (str(version.number), said, version.state.value, _accuracy(version), _size(version), _age(version, now))


def _accuracy(version: Version) -> str:
    """What was measured when it was verified: of the largest batch size, over so many images."""
    try:
        measured = version.provenance["verification"]["batches"][-1]
        return f"{100 * float(measured['accuracy']):.2f} % of {int(measured['images']):,}"
    except (KeyError, IndexError, TypeError, ValueError):
        return "not measured"


def _size(version: Version) -> str:
    try:
        return f"{version.file.stat().st_size / 1e6:.1f} MB"
    except (OSError, KeyError):
        return "?"


def _age(version: Version, now: datetime) -> str:
    try:
        seconds = (now - datetime.fromisoformat(version.provenance["built"])).total_seconds()
    except (KeyError, TypeError, ValueError):
        return "?"
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{max(int(seconds), 0)} s"
