"""Publishing: the only code that writes the model repository.

A model is staged beside the repository (Triton takes every directory inside it for a model), then exchanged with the
published one in a single step. Whatever happens before that step leaves the last good version as it was.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.errors import BuilderError
from console.files import sha256_file, write_atomically

logger = logging.getLogger(__name__)

CONFIG_FILE = "config.pbtxt"
PROVENANCE_FILE = "provenance.json"
KEPT_VERSIONS = 2
"""The published version and the one before it: deleting the newest directory is a rollback."""

_RENAME_EXCHANGE = 2  # linux/fs.h
_AT_FDCWD = -100  # fcntl.h


@dataclass(frozen=True)
class Model:
    """A verified model, ready to be published.

    Attributes:
        name: the model's directory.
        config: the text of config.pbtxt.
        files: name -> content, beside config.pbtxt (labels).
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
    """

    directory: Path
    version: int
    changed: bool


class Repository:
    """A model repository on this machine.

    Args:
        path: its directory; made when missing.

    Raises:
        BuilderError: `path` is a file.
    """

    def __init__(self, path: Path) -> None:
        if path.exists() and not path.is_dir():
            raise BuilderError(f"{path} is not a directory", "name a directory with --repository")
        self.path = path.absolute()

    def publish(self, model: Model) -> Published:
        """Make `model` the newest version of its name, or leave everything as it is.

        An unchanged model keeps its version; only what lies beside it (configuration, provenance) is replaced.

        Raises:
            OSError: the disk is full or the repository cannot be written.
            BuilderError: another build is publishing at this moment.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with self._lock(), self._staging() as staging:
            target = self.path / model.name
            versions = published_versions(target)
            latest = versions[-1] if versions else 0
            content = model.version_files[model.model_file]
            changed = not (latest and _same(target / str(latest) / model.model_file, content))
            version = latest + 1 if changed else latest
            staged = staging / model.name
            for old in [number for number in versions if number != version][-(KEPT_VERSIONS - 1) :]:
                shutil.copytree(target / str(old), staged / str(old), copy_function=os.link)
            for name, data in model.files.items():
                write_atomically(staged / name, data)
            for name, data in model.version_files.items():
                write_atomically(staged / str(version) / name, data)
            self._write_provenance(staged / str(version), model, version)
            write_atomically(staged / CONFIG_FILE, model.config)
            _put_in_place(staged, target)
        return Published(target / str(version), version, changed)

    def _write_provenance(self, directory: Path, model: Model, version: int) -> None:
        digest = sha256_file(directory / model.model_file)
        provenance = {"model": model.name, "version": version, "file": model.model_file, "sha256": digest}
        write_atomically(directory / PROVENANCE_FILE, json.dumps({**provenance, **model.provenance}, indent=2) + "\n")

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
        for left_over in self.path.parent.glob(f"{prefix}*"):  # of a build that was killed: we hold the lock
            shutil.rmtree(left_over, ignore_errors=True)
        directory = Path(tempfile.mkdtemp(dir=self.path.parent, prefix=prefix))
        directory.chmod(0o755)
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)


def published_versions(model_directory: Path) -> list[int]:
    """The version numbers a model directory holds, ascending; empty when there is none."""
    if not model_directory.is_dir():
        return []
    return sorted(int(entry.name) for entry in model_directory.iterdir() if entry.is_dir() and entry.name.isdigit())


def _same(path: Path, content: bytes) -> bool:
    return path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content


def _put_in_place(staged: Path, target: Path) -> None:
    """Move a staged directory to `target`; a directory that is there is exchanged with it in one system call."""
    if not target.exists():
        staged.rename(target)
        return
    libc = ctypes.CDLL(None, use_errno=True)
    rename = getattr(libc, "renameat2", None)
    names = (os.fsencode(staged), os.fsencode(target))
    if rename and rename(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
        return
    code = ctypes.get_errno() if rename else errno.ENOSYS
    if code not in (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP):
        raise OSError(code, os.strerror(code), str(target))
    # A file system that cannot exchange (some network mounts): two renames, the model absent between them.
    logger.debug("no atomic exchange on this file system; %s is replaced in two steps", target)
    retired = staged.with_name(f"{staged.name}.retired")
    target.rename(retired)
    staged.rename(target)
