"""Publishing: the only code that writes the model repository.

A model is staged beside the repository (Triton takes every directory inside it for a model), then exchanged with the
published one in a single step. Whatever happens before that step leaves the last good version as it was.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.errors import BuilderError
from builder.publishing import rollback
from builder.publishing.exchange import clear, link_tree, put_in_place
from builder.publishing.kept_versions import KEPT_VERSIONS, SERVED_VERSIONS
from builder.publishing.versions import (
    CONFIG_FILE,
    LARGEST_NUMBER,
    PROVENANCE_FILE,
    PUBLISHED_FOLDER,
    VERSIONS_FILE,
    State,
    examine,
    highest_number,
    published_versions,
    used_versions,
    versions_json,
)
from builder.triton_config import version_policy
from console.files import sha256_file, write_atomically
from console.triton_configuration import ConfigurationError, parse

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Model:
    """A verified model, ready to be published.

    Attributes:
        name: the model's directory.
        config: the text of config.pbtxt.
        files: path -> content, beside config.pbtxt (labels, the configurations of single places); a path may lie in
            a folder that no version is named like.
        version_files: name -> content, in the version's directory (the model itself, its reference answers).
        model_file: which of `version_files` the model is.
        provenance: what it was made from and how good it is; its sha256 and version are added here.
    """

    name: str
    config: str
    files: Mapping[str, bytes]
    version_files: Mapping[str, bytes]
    model_file: str
    provenance: Mapping[str, Any]


@dataclass(frozen=True)
class Published:
    """Where a model came to lie.

    Attributes:
        directory: the version's directory.
        version: its number.
        changed: False when the same model was there already.
        returned: it was there already and was not served: it is again.
    """

    directory: Path
    version: int
    changed: bool
    returned: bool = False


class Repository:
    """A model repository on this machine.

    Args:
        path: its directory; made when missing.
        keep: how many versions of a model stay when one is published, itself among them. The one that was served until
            then stays in any case: a server that has yet to load the new one may start anew.
        serve: how many of them the configurations have served, which then must stay.

    Raises:
        BuilderError: `path` is a file, or `keep` is less than `serve`.
    """

    def __init__(self, path: Path, keep: int = KEPT_VERSIONS, serve: int = SERVED_VERSIONS) -> None:
        if path.exists() and not path.is_dir():
            raise BuilderError(f"{path} is not a directory", "name a directory with --repository")
        if keep < serve:
            raise BuilderError(f"--serve {serve} needs as many versions; --keep {keep} leaves fewer", f"--keep {serve}")
        self.path = path.absolute()
        self.keep = keep

    def publish(self, model: Model) -> Published:
        """Have `model` served as the newest version of its name, or leave everything as it is.

        A model that lies here already, in whatever version, keeps its number; only what lies beside it (configuration,
        provenance, reference answers) is replaced. Any other gets a number that was never used.

        Raises:
            OSError: the disk is full.
            BuilderError: the repository cannot be written; another build is publishing at this moment; or
                versions.json is damaged.
        """
        with self._writing():
            self.path.mkdir(parents=True, exist_ok=True)
        with self._writing(), self._lock(), self._staging() as staging:
            target, staged = self.path / model.name, staging / model.name
            versions, used = published_versions(target), used_versions(target)
            highest = _highest(target, versions)
            there = _version_of(model.model_file, model.version_files[model.model_file], target, versions)
            version = _next(highest, target) if there is None else there
            kept = self._kept([number for number in versions if number != version], used)
            for old in kept:
                link_tree(target / str(old), staged / str(old))
            self._write_version(staged / str(version), model, version)
            files = {CONFIG_FILE: model.config.encode(), **model.files}
            if any(number > version for number in kept):
                files = rollback.bound(files, _served_with(version, kept, model.config))
            for name, data in files.items():
                write_atomically(staged / name, data)
            write_atomically(staged / VERSIONS_FILE, versions_json(max(highest, version)))
            put_in_place(staged, target)
        return Published(target / str(version), version, there is None, there is not None and version not in used)

    def provenance_of(self, name: str, model_file: str, content: bytes) -> Mapping[str, Any]:
        """What is on record of the version that holds this very file; empty where none does, or it cannot be read."""
        target = self.path / name
        try:
            version = _version_of(model_file, content, target, published_versions(target))
            found = None if version is None else examine(target, version)
        except OSError:  # said when it is published
            return {}
        return found.provenance if found and found.state is State.OK else {}

    def roll_back(self, name: str, to: int | None = None) -> rollback.RolledBack:
        """Have an earlier version of a model served, with the configuration that was published with it.

        Later versions stay on the disk: the same with a later number goes forward again.

        Args:
            name: the model's directory.
            to: the version; None for the one before the version that is served.

        Raises:
            BuilderError: there is no such version, it was not published by this project, the repository cannot be
                written, or another build is publishing at this moment.
            ChangedError: its file is not the one that was published.
            OSError: the disk is full.
        """
        target = self.path / name
        rollback.goal(target, to)  # what cannot be needs no lock, and so no right to write
        with self._writing(), self._lock(), self._staging() as staging:
            found = rollback.plan(target, to)
            if found.changed:
                rollback.stage(target, staging / name, found.version)
                put_in_place(staging / name, target)
        return found

    def _kept(self, others: list[int], used: set[int]) -> list[int]:
        """Which of the other versions stay: the newest ones, and those in use whatever their number."""
        needed = [number for number in others if number in used]
        newest = [number for number in reversed(others) if number not in used]
        return sorted([*needed, *newest[: max(self.keep - 1 - len(needed), 0)]])

    def _write_version(self, directory: Path, model: Model, version: int) -> None:
        for name, data in model.version_files.items():
            write_atomically(directory / name, data)
        digest = sha256_file(directory / model.model_file)
        provenance = {"model": model.name, "version": version, "file": model.model_file, "sha256": digest}
        write_atomically(directory / PROVENANCE_FILE, json.dumps({**provenance, **model.provenance}, indent=2) + "\n")
        for name, data in {CONFIG_FILE: model.config.encode(), **model.files}.items():
            write_atomically(directory / PUBLISHED_FOLDER / name, data)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
            where = f" ({error.filename})" if error.filename else ""
            raise BuilderError(
                f"{self.path} cannot be written: {error.strerror}{where}; it is left as it was",
                f"let this user write into it and into {self.path.parent}, where a model is put together",
            ) from None

    @contextmanager
    def _lock(self) -> Iterator[None]:
        with (self.path.parent / f".{self.path.name}.lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BuilderError(f"another build is publishing into {self.path}", "wait for it to end") from None
            yield

    @contextmanager
    def _staging(self) -> Iterator[Path]:
        prefix = f".{self.path.name}.staging-"
        for entry in self.path.parent.iterdir():
            if entry.name.startswith(prefix):  # of a build that was killed: we hold the lock
                clear(entry, self.path)
        directory = Path(tempfile.mkdtemp(dir=self.path.parent, prefix=prefix))
        directory.chmod(0o755)
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)


def _version_of(file: str, content: bytes, target: Path, versions: list[int]) -> int | None:
    """The version that holds this very file, the newest if several do."""
    return next((number for number in reversed(versions) if _same(target / str(number) / file, content)), None)


def _same(path: Path, content: bytes) -> bool:
    return path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content


def _highest(target: Path, versions: list[int]) -> int:
    """The highest number that was ever used, 0 for none: what versions.json says, or what lies on the disk."""
    recorded, newest = highest_number(target), max(versions, default=0)
    if recorded is not None and recorded < newest:
        logger.warning(
            "warning: %s says that %d was the highest version, and %s holds a version %d: the next number is %d",
            target / VERSIONS_FILE, recorded, target, newest, newest + 1,
        )  # fmt: skip
    return max(recorded or 0, newest)


def _next(highest: int, target: Path) -> int:
    if highest >= LARGEST_NUMBER:
        raise BuilderError(
            f"{target}: no version number is left after {highest}, the largest that Triton knows",
            f"remove the directory of that name, and correct {VERSIONS_FILE}",
        )
    return highest + 1


def _served_with(version: int, kept: list[int], config: str) -> list[int]:
    """What is served where a version is not the newest: itself, and before it as many as its configuration serves."""
    try:
        count = version_policy.count_of(parse(config))
    except ConfigurationError:  # said by whoever binds it to its version
        count = 1
    return sorted([*(number for number in kept if number < version), version])[-count:]
