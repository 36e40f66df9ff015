"""What a server leaves behind when it is killed: shared-memory regions and a working directory, named by launcher."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from server.triton.workspace import choose_parent, parents

_NAME = "embedded_triton_{pid}_"
_PATTERN = re.compile(r"embedded_triton_(\d+)_")
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  where Triton's Python backend makes its regions


def region_prefix() -> str:
    """Prefix of the names of this launcher's shared-memory regions and working directory."""
    return _NAME.format(pid=os.getpid())


def make_working_directory() -> Path:
    """Make a private temporary directory that carries the launcher's name.

    Raises:
        ServerError: there is no place for it.
    """
    return Path(tempfile.mkdtemp(prefix=region_prefix(), dir=choose_parent(Path(tempfile.gettempdir()))))


def remove_own() -> None:
    """Remove what this launcher's server left."""
    _remove(lambda pid: pid == os.getpid())


def remove_stale() -> None:
    """Remove what launchers left that were killed themselves."""
    _remove(lambda pid: not Path(f"/proc/{pid}").exists())


def _remove(chosen: Callable[[int], bool]) -> None:
    for directory in {_SHARED_MEMORY, *parents(Path(tempfile.gettempdir()))}:
        for path in directory.glob("embedded_triton_*"):
            match = _PATTERN.match(path.name)
            if match is None or not chosen(int(match[1])):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
