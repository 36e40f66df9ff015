"""Starts a model's process where Triton believes to start bash: a program of its own, on the standard library alone.

Triton's Python backend (src/stub_launcher.cc, `Launch`) writes paths and names of a model into one line and has
`bash -c` run it; so a space ends a path, and a back-tick in a name is executed. The launcher puts this file first on
Triton's PATH, under the name of bash: the line is taken apart here, and nothing of it reaches a shell.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

STUB = "triton_python_backend_stub"
RECORDS = "processes"
"""Beside `bin`: what started under which process id, for the launcher."""

_REFUSED = 126  # a shell's exit code for what is found and cannot be run
_PLAIN = re.compile(r"[\w./+-]+", re.ASCII)
_ACTIVATE = 'source "$1" && export LD_LIBRARY_PATH="$2:$LD_LIBRARY_PATH" && shift 2 && exec "$@"'


class Start(NamedTuple):
    """One line of Triton's, taken apart.

    Attributes:
        model: the path of the model's file, as Triton knows it.
        name: the instance's; while Triton completes a configuration, the model's.
        arguments: of the process, its program first.
        environment: None, or the `activate` script and the library directory of the model's own Python environment.
    """

    model: str
    name: str
    arguments: list[str]
    environment: tuple[str, str] | None


def parse(line: str, directory: str, parent: int) -> Start | None:
    """Take Triton's line apart; None where it is another one than `Launch` writes.

    Args:
        line: what bash was to run.
        directory: the launcher's working directory.
        parent: Triton's process id.
    """
    inside = re.escape(directory)
    own = rf"(?:{inside}/models(?:_\d+)?/[^/]+|/tmp/folder\w+)/{STUB}"  # a model may bring its process's program
    match = re.fullmatch(
        rf"(?:source (?P<activate>/.+) && exec env LD_LIBRARY_PATH=(?P<libraries>/.+):\$LD_LIBRARY_PATH| exec)"
        rf" (?P<stub>{inside}/backends/python/{STUB}|{own}) (?P<model>/.+)"
        rf" (?P<numbers>[\w-]+ \d+ \d+ {parent} {inside}/backends/python \d+)"
        rf" (?P<name>.+) (?P<runtime>DEFAULT|{inside}/backends/\w+)",
        line,
        re.DOTALL,
    )
    if match is None:
        return None
    arguments = [match["stub"], match["model"], *match["numbers"].split(" "), match["name"], match["runtime"]]
    environment = (match["activate"], match["libraries"]) if match["activate"] else None
    return Start(match["model"], match["name"], arguments, environment)


def plain_path(path: str, directory: str) -> str:
    """A path to a model's file that is ASCII up to the version, through a link where it has to be.

    The process's Python takes file names for ASCII whatever the locale, and could not import from another directory.
    """
    if _PLAIN.fullmatch(path):
        return path
    model, version, file = path.rsplit("/", 2)
    link = Path(directory, RECORDS, f"{os.getpid()}.model")
    link.unlink(missing_ok=True)
    link.symlink_to(model)
    return f"{link}/{version}/{file}"


def main(arguments: list[str], environment: Mapping[str, str]) -> int:
    """Become the model's process; returns only where that fails, with an exit code."""
    directory = str(Path(arguments[0]).parent.parent)
    start = parse(arguments[-1], directory, os.getppid())
    _record(directory, start)
    if start is None:
        print(f"not a line that starts a model's process: {arguments[1:]}", file=sys.stderr)  # noqa: T201
        return _REFUSED
    command = [start.arguments[0], plain_path(start.model, directory), *start.arguments[2:]]
    if start.environment:
        command = ["bash", "-c", _ACTIVATE, "bash", *start.environment, *command]
    others = [entry for entry in environment.get("PATH", os.defpath).split(":") if entry != f"{directory}/bin"]
    os.environ["PATH"] = ":".join(others)
    try:
        os.execvp(command[0], command)  # noqa: S606  a model's process; bash with a fixed line and arguments beside it
    except OSError as error:
        print(f"cannot run {command[0]}: {error.strerror}", file=sys.stderr)  # noqa: T201
    return _REFUSED


def _record(directory: str, start: Start | None) -> None:
    """Tell the launcher who this is, and keep what it says where the launcher asked for that."""
    records, pid = Path(directory, RECORDS), os.getpid()
    if (records / "keep").exists():
        handle = os.open(records / f"{pid}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
    model, version, instance = "", "", ""
    if start:  # models, models_2, ... are the repositories (workspace.py)
        inside = re.match(rf"{re.escape(directory)}/models(?:_\d+)?/([^/]+)/", start.model)
        model = inside[1] if inside else start.name
        version, instance = start.model.rsplit("/", 2)[1], start.name
    temporary = records / f"{pid}.new"
    temporary.write_text(json.dumps({"model": model, "version": version, "instance": instance}))
    temporary.rename(records / f"{pid}.json")


if __name__ == "__main__":
    sys.exit(main(sys.argv, os.environ))
