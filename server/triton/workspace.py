"""The launcher's working directory: everything that Triton is shown, under a path that a shell takes for one word.

`models`, `models_2`, … are links to the model repositories: Triton sees their models through them, and what is
published there later.
`backends` are copies, since Triton refuses links that lead out of there. `bin/bash` is what starts a model's process in
the place of bash; `processes` holds which model's process has which id, and what it said.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from server.errors import ServerError
from server.triton import backend_folders, model_process
from server.triton.wheel import Wheel

_BACKENDS = Path(__file__).parents[1] / "backends"
_IGNORED = shutil.ignore_patterns("__pycache__")
_PLAIN = re.compile(r"/[\w./+-]*", re.ASCII)
_MAX_LENGTH = 64
"""Of the path around a working directory: older kernels read 127 characters of a program's `#!` line."""

_FALLBACKS = (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"))  # noqa: S108  a private directory is made there


def is_plain(path: Path) -> bool:
    """Whether a shell takes a path for one word, and for nothing else."""
    return _PLAIN.fullmatch(str(path)) is not None


def parents(temporary: Path) -> list[Path]:
    """Where a working directory may lie: the directory for temporary files, or one that a shell does not mind."""
    return list(dict.fromkeys([temporary.resolve(), *_FALLBACKS]))


def choose_parent(temporary: Path) -> Path:
    """The first of them that can be used.

    Args:
        temporary: the directory for temporary files that the environment names.

    Raises:
        ServerError: there is none; says what is wrong with each.
    """
    reasons = {directory: _why_not(directory) for directory in parents(temporary)}
    for directory, reason in reasons.items():
        if not reason:
            return directory
    raise ServerError(
        "there is no place for a working directory: " + "; ".join(f"{str(at)!r} {why}" for at, why in reasons.items()),
        "name one: TMPDIR=/a/short/path",
    )


def _why_not(directory: Path) -> str:
    if not is_plain(directory):
        return "holds characters that a shell does not take literally"
    if len(str(directory)) > _MAX_LENGTH:
        return f"is longer than {_MAX_LENGTH} characters"
    if not os.access(directory, os.W_OK | os.X_OK):
        return "cannot be written"
    if os.statvfs(directory).f_flag & os.ST_NOEXEC:
        return "is mounted noexec"
    return ""


class Workspace:
    """The parts of a working directory, by name.

    Args:
        directory: the empty working directory.
        wheel: the server's parts.
        repositories: the model repositories.
        keep_words: keep what models' processes say in files, instead of on the launcher's own standard error.
    """

    def __init__(self, directory: Path, wheel: Wheel, repositories: Sequence[Path], *, keep_words: bool) -> None:
        self.directory = directory
        self.log = directory / "triton.log"
        numbers = ("" if number == 1 else f"_{number}" for number in range(1, len(repositories) + 1))
        self.repositories = [directory / f"models{number}" for number in numbers]
        self.backends = directory / "backends"
        self.processes = directory / model_process.RECORDS
        self._binaries = directory / "bin"
        self._libraries = directory / "lib"
        for link, repository in zip(self.repositories, repositories, strict=True):
            link.symlink_to(repository.resolve())
        self._assemble_processes(keep_words)
        self._assemble_backends(wheel)
        self._assemble_libraries(wheel)

    def environment(self) -> dict[str, str]:
        """Environment variables for Triton and its models' processes.

        A model's process imports from the environment of the first `python3` on PATH: that is made this interpreter's.
        """
        environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
        libraries = [str(self._libraries), str(self._libraries / "wheel"), os.environ.get("LD_LIBRARY_PATH", "")]
        environment["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, libraries))
        programs = [str(self._binaries), str(Path(sys.prefix) / "bin"), os.environ.get("PATH", os.defpath)]
        environment["PATH"] = os.pathsep.join(programs)
        return environment

    def _assemble_processes(self, keep_words: bool) -> None:
        self.processes.mkdir()
        if keep_words:
            (self.processes / "keep").touch()
        self._binaries.mkdir()
        interpreter = self._binaries / "interpreter"
        interpreter.symlink_to(Path(sys.executable).resolve())
        program = self._binaries / "bash"
        source = Path(model_process.__file__).read_text(encoding="utf-8")
        program.write_text(f"#!{interpreter} -IS\n{source}", encoding="utf-8")
        program.chmod(0o700)

    def _assemble_backends(self, wheel: Wheel) -> None:
        python = self.backends / "python"
        shutil.copytree(wheel.python_backend, python, ignore=_IGNORED)
        shutil.copy2(wheel.stub, python / wheel.stub.name)
        (python / wheel.stub.name).chmod(0o700)
        # Triton puts a backend's own folder on its import path and no other: what backends share is laid beside it.
        for name, folders in backend_folders.present().items():
            for folder in folders:
                shutil.copytree(_BACKENDS / folder, self.backends / name, ignore=_IGNORED, dirs_exist_ok=True)

    def _assemble_libraries(self, wheel: Wheel) -> None:
        self._libraries.mkdir()
        (self._libraries / wheel.libpython_name).symlink_to(wheel.libpython)
        (self._libraries / "wheel").symlink_to(wheel.libraries)
