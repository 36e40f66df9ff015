"""The versions of a published model: as they lie on the disk, as Triton reads them, and whether they are as published.

What is in a model's directory: `N/` for each version, `N/published/` with the configurations and labels that were
published with it, and `versions.json`, which remembers the highest number that was ever used.
"""

from __future__ import annotations

import enum
import json
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.errors import BuilderError
from builder.triton_config import version_policy
from builder.triton_config.places import CONFIGS_FOLDER
from console.files import sha256_file
from console.triton_configuration import ConfigurationError, read

logger = logging.getLogger(__name__)

CONFIG_FILE = "config.pbtxt"
PROVENANCE_FILE = "provenance.json"
VERSIONS_FILE = "versions.json"
PUBLISHED_FOLDER = "published"
"""Of a version's directory. Triton looks for the model's file there and for nothing else, so it passes this over."""

LARGEST_NUMBER = 2**63 - 1
"""Triton's version numbers are signed, of 64 bits."""

_NUMBER = re.compile(r"0|[1-9][0-9]*")
_READ_AS_NUMBER = re.compile(r"[ \t\n\v\f\r]*[+-]?[0-9]")


def closed(error: PermissionError) -> str:
    """A model's directory that this user may not look into, for a message: it may be a model, and others are told."""
    return f"cannot be looked into: {error.strerror} ({error.filename}); let this user read and enter it"


def published_versions(model_directory: Path) -> list[int]:
    """The version numbers a model directory holds, ascending; empty when there is none.

    They are those that Triton can serve (core r24.10, `VersionsToLoad`): decimal, without leading zeros, 0 included.
    """
    return sorted(int(name) for name in _folders(model_directory) if _NUMBER.fullmatch(name) and _fits(name))


def misread(model_directory: Path) -> list[str]:
    """Directories whose names Triton takes for a number that they are not.

    It reads a name as C's `stoll` does: "3rd" and "+3" are a version 3, whose directory "3" it then does not find, and
    a number beyond 64 bits ends its loading. Names with a leading zero, or without a digit in front, it passes over.
    """
    return [
        name
        for name in sorted(_folders(model_directory))
        if _READ_AS_NUMBER.match(name)
        and not (name[0] == "0" and len(name) > 1)
        and not (_NUMBER.fullmatch(name) and _fits(name))
    ]


def _folders(directory: Path) -> Iterator[str]:
    if directory.is_dir():
        yield from (entry.name for entry in directory.iterdir() if entry.is_dir())


def _fits(digits: str) -> bool:
    return int(digits) <= LARGEST_NUMBER


def config_files(model_directory: Path) -> list[Path]:
    """The configurations of a model that are there: the plain one first, then those of single places."""
    paths = [model_directory / CONFIG_FILE, *sorted((model_directory / CONFIGS_FOLDER).glob("*.pbtxt"))]
    return [path for path in paths if path.is_file()]


def served_versions(model_directory: Path) -> list[int]:
    """The versions that a server of this directory serves by config.pbtxt, ascending; empty where it has none.

    Raises:
        ConfigurationError: config.pbtxt cannot be read, or is no configuration.
    """
    path = model_directory / CONFIG_FILE
    if not path.is_file():
        return []
    return version_policy.served(read(path), published_versions(model_directory))


def used_versions(model_directory: Path) -> set[int]:
    """The versions that answer requests which name none, one for each configuration; the newest where none says."""
    versions, used = published_versions(model_directory), set()
    for path in config_files(model_directory):
        try:
            used |= set(version_policy.served(read(path), versions)[-1:])
        except ConfigurationError as error:
            logger.debug("%s", error)  # whoever publishes replaces it
    return used or set(versions[-1:])


def highest_number(model_directory: Path) -> int | None:
    """The highest number ever used here, by versions.json; None where there is no such file.

    Raises:
        BuilderError: the file is damaged.
    """
    path = model_directory / VERSIONS_FILE
    try:
        content = _read_json(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path, str(error)) from None
    highest = content.get("highest") if isinstance(content, dict) else None
    if type(highest) is not int or not 0 <= highest <= LARGEST_NUMBER:
        raise _damaged(path, f'expected {{"highest": N}}, found {json.dumps(content)[:100]}')
    return highest


def versions_json(highest: int) -> str:
    """The content of versions.json."""
    return json.dumps({"highest": highest}) + "\n"


def _damaged(path: Path, found: str) -> BuilderError:
    return BuilderError(
        f"{path} does not say which version numbers were used: {found}",
        'write {"highest": N} into it, N the highest number that was ever used; removing it leaves those on the disk',
    )


class State(str, enum.Enum):
    """Whether a version's file is the one that was published; the value is what a table says."""

    OK = "ok"
    CHANGED = "changed"
    BY_HAND = "no provenance"
    UNKNOWN = "bad provenance"


@dataclass(frozen=True)
class Version:
    """One version, as it lies on the disk.

    Attributes:
        directory: where.
        number: its name.
        state: of its file.
        problem: what is wrong with it, for a message; empty where the state is OK.
        provenance: what was recorded when it was published; empty where that cannot be read.
    """

    directory: Path
    number: int
    state: State
    problem: str
    provenance: Mapping[str, Any]

    @property
    def file(self) -> Path:
        """The model's file; only for a version whose provenance could be read."""
        return self.directory / str(self.provenance["file"])


def examine(model_directory: Path, number: int) -> Version:
    """Look at a version, and compute its file's SHA-256 anew."""
    directory = model_directory / str(number)
    path = directory / PROVENANCE_FILE
    try:
        provenance = _read_provenance(path)
    except FileNotFoundError:
        return Version(directory, number, State.BY_HAND, f"it has no {PROVENANCE_FILE}: it was put there by hand", {})
    except (OSError, ValueError, RecursionError) as error:
        return Version(directory, number, State.UNKNOWN, f"its {PROVENANCE_FILE} cannot be read: {error}", {})
    named = provenance["model"], provenance["version"]
    if named != (model_directory.name, number):
        problem = f"its {PROVENANCE_FILE} is that of {named[0]!r} version {named[1]}"
        return Version(directory, number, State.UNKNOWN, problem, provenance)
    problem = _difference(directory / provenance["file"], provenance["sha256"])
    return Version(directory, number, State.CHANGED if problem else State.OK, problem, provenance)


def _difference(file: Path, published: str) -> str:
    """In what a model's file is another than the one that was published; empty where it is not."""
    try:
        if file.exists() and not file.is_file():  # opening a named pipe would wait for whoever writes into it
            return f"{file.name} is no file"
        found = sha256_file(file)
    except OSError as error:
        return f"{file.name} cannot be read: {error.strerror}"
    return "" if found == published else f"{file.name} has SHA-256 {found}, and {published} was published"


def _read_json(path: Path) -> Any:
    if path.exists() and not path.is_file():
        raise ValueError("it is no file")
    return json.loads(path.read_bytes())


def _read_provenance(path: Path) -> dict[str, Any]:
    """Raises OSError, ValueError or RecursionError where it is not there, not readable or lacks what is needed."""
    content = _read_json(path)
    if not isinstance(content, dict):
        raise ValueError(f"expected an object, found {json.dumps(content)[:100]}")
    for name, kind in {"model": str, "version": int, "file": str, "sha256": str}.items():
        if type(content.get(name)) is not kind:
            raise ValueError(f"'{name}' is {json.dumps(content.get(name))[:100]}")
    if Path(content["file"]).name != content["file"] or not content["file"].isprintable():
        raise ValueError(f"'file' is {content['file']!r}, no name of a file beside it")
    return content
