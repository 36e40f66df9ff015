"""Models' processes that have died: Triton does not look after one before a request fails, nor at all at its start."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_GRACE = 0.5
"""Seconds within which Triton collects a process that it has ended itself; one still there then, it does not miss."""

_WORDS = 3
"""The last lines that a process said, for a message."""


@dataclass(frozen=True)
class Death:
    """A model's process that is gone.

    Attributes:
        pid: the process's id.
        model: the name of the model.
        how: "was killed by SIGKILL", "ended with exit code 1".
        said: its last lines, in one; empty where it said nothing, or said it on the launcher's own standard error.
        version: the model's, as its directory is called; empty where that is not known.
        instance: which instance of the model it ran.
        may_be_triton_s: it ended as Triton ends one, too.
    """

    pid: int
    model: str
    how: str
    said: str
    version: str = ""
    instance: str = ""
    may_be_triton_s: bool = False

    def sentence(self, when: str) -> str:
        """The death in one line.

        Args:
            when: "while serving".
        """
        return f"the process of model '{self.model}' {self.how} {when}{': ' if self.said else ''}{self.said}"


class Deaths:
    """Watches the processes that Triton has started.

    Args:
        records: the directory in which each writes its model's name and its words.
    """

    def __init__(self, records: Path) -> None:
        self._records = records
        self._since: dict[int, float] = {}
        self._told: set[int] = set()

    def new(self) -> list[Death]:
        """The deaths since the last call; to be called several times a second."""
        now, found = time.monotonic(), []
        for record in self._records.glob("*.json"):
            pid = int(record.stem)
            if not Path(f"/proc/{pid}").exists():
                self._forget(pid)
            if pid in self._told or (status := _status(pid)) is None:
                continue
            by_triton = status in (0, signal.SIGKILL)  # that is how Triton ends one, too
            if now - self._since.setdefault(pid, now) >= _GRACE or not by_triton:
                self._told.add(pid)
                told = json.loads(record.read_text())
                how = how_ended(os.waitstatus_to_exitcode(status))
                found.append(
                    Death(pid, told["model"], how, self._said(pid), told["version"], told["instance"], by_triton)
                )
        return found

    def still(self, death: Death) -> bool:
        """Whether Triton has not collected the process yet."""
        return _status(death.pid) is not None

    def processes_of(self, model: str) -> list[int]:
        """The ids of a model's processes, dead ones that Triton has not collected among them."""
        records = {int(record.stem): record for record in self._records.glob("*.json")}
        return [pid for pid, record in records.items() if json.loads(record.read_text())["model"] == model]

    def has_elder(self, death: Death) -> bool:
        """Whether an older process that lives runs the same instance of the same version, and was to be followed.

        So it is while Triton loads a version that it serves: the older one answers until the newer one is ready.
        """
        born = _born(self._records / f"{death.pid}.json")
        for record in self._records.glob("*.json"):
            if int(record.stem) == death.pid or not 0 < _born(record) < born:
                continue
            told = json.loads(record.read_text())
            same = told["version"] == death.version and told["instance"] == death.instance
            if same and _is_alive(int(record.stem)):
                return True
        return False

    def end(self, pids: Iterable[int]) -> None:
        """Kill processes that Triton has no use for any more, without telling of their deaths."""
        for pid in pids:
            self._told.add(pid)
            if (self._records / f"{pid}.json").exists():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _forget(self, pid: int) -> None:
        """Triton has collected the process; its id may come again."""
        for path in self._records.glob(f"{pid}.*"):
            path.unlink(missing_ok=True)
        self._since.pop(pid, None)
        self._told.discard(pid)

    def _said(self, pid: int) -> str:
        try:
            text = (self._records / f"{pid}.log").read_text(encoding="utf-8", errors="backslashreplace")
        except OSError:
            return ""
        return " | ".join([line.strip() for line in text.splitlines() if line.strip()][-_WORDS:])


def _born(record: Path) -> int:
    """When a process was started; 0 where Triton has collected it meanwhile."""
    try:
        return record.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists() and _status(pid) is None


def _status(pid: int) -> int | None:
    """How a process ended, as waitpid(2) says it; None where it is alive, or was collected by Triton."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return int(fields[-1]) if fields[0] == "Z" else None


def how_ended(code: int) -> str:
    """In words how a process ended: `code` as `subprocess.Popen.returncode` has it, a signal's number negated."""
    if code >= 0:
        return f"ended with exit code {code}"
    names = {number.value: number.name for number in signal.Signals}  # real-time signals between the ends have none
    return f"was killed by {names.get(-code, f'signal {-code}')}"
