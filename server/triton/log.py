"""Triton's log, read for a person."""

from __future__ import annotations

import re
import time
from collections import Counter
from pathlib import Path

_ERROR_LINE = re.compile(r'^E\d{4} [\d:.]+ +\d+ [\w./]+:\d+\] "?(?P<text>.*?)"?$')
_FAILED_MODEL = re.compile(r"failed to load '(?P<model>.+?)' version (?P<version>-?\d+): (?P<reason>.*)")
_CHANGED_LINE = re.compile(r'^W\d{4} [\d:.]+ +\d+ [\w./]+:\d+\] "?(?P<text>.*; served as it is)"?$')
"""What the backends log of a model that is served although its file was changed (provenance_check.py)."""

_FATAL_LINE = re.compile(r"^error: (?P<text>creating server: .*)$")
_WARM_UP = re.compile(r"(?P<begin>.*failed to run warmup sample '.*?': )(?P<errors>.*?)(; )?$", re.DOTALL)
RECENT = 2.0
"""Seconds before Triton's end from which on its log tells the reason; it may reach back twice as far."""

_ABSENT_GPU = ("CudaDriverHelper has not been initialized",)
"""Lines that every start without a GPU logs as errors."""


def failures(log: str) -> list[str]:
    """Say why Triton did not start, one line a reason, newest last, without repetitions.

    Args:
        log: the text of the server's log.
    """
    reasons: dict[str, None] = {}
    others: dict[str, None] = {}
    for line in log.splitlines():
        if fatal := _FATAL_LINE.match(line):
            others[first_line(fatal["text"])] = None
        if not (match := _ERROR_LINE.match(line)) or match["text"].startswith(_ABSENT_GPU):
            continue
        if failed := _FAILED_MODEL.search(match["text"]):
            reasons[f"{failed['model']} version {failed['version']}: {first_line(failed['reason'])}"] = None
        else:
            others[first_line(match["text"])] = None
    return list(reasons or others)


def reason_for(model: str, log: str) -> str:
    """Why Triton did not load a model that it gives no state of; empty where the log does not name it.

    Args:
        model: its name.
        log: the text of the server's log.
    """
    errors = [match["text"] for line in log.splitlines() if (match := _ERROR_LINE.match(line))]
    for begin in (f"Poll failed for model directory '{model}': ", ""):
        for text in errors:
            named = text.startswith(begin) if begin else f"'{model}'" in text or f": {model} ->" in text
            if named:
                return first_line(text.removeprefix(begin))
    return ""


def first_line(text: str) -> str:
    """A message without the Python stack that Triton appends to it; its log writes line ends as a backslash and n."""
    text = _once(text.replace("\n", r"\n")).split(r"\n\nAt:")[0].replace(r"\n", " ")
    return re.sub(r"^(Internal|Invalid argument)( -)?:? |TritonModelException: ", "", text).replace(r"\'", "'").strip()


def _once(text: str) -> str:
    """A warm-up's failure without repetitions: each of the sample's requests, one an image, gives its own."""
    if not (failed := _WARM_UP.match(text)):
        return text
    errors = failed["errors"].split("; ")
    for length in range(1, len(errors)):  # an error may hold "; " itself
        times, rest = divmod(len(errors), length)
        if not rest and errors == errors[:length] * times:
            return f"{failed['begin']}{'; '.join(errors[:length])} ({times} times)"
    counts = Counter(errors)
    return failed["begin"] + "; ".join(f"{error} ({times} times)" if times > 1 else error
                                       for error, times in counts.items())  # fmt: skip


class Log:
    """The log of a running Triton.

    Args:
        path: its file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._marks = [(0.0, 0), (0.0, 0)]
        self._read = 0
        self._changed: set[str] = set()

    def mark(self) -> None:
        """Remember how long the log is; called again and again, so that the end is known when the end comes."""
        if time.monotonic() - self._marks[1][0] >= RECENT:
            self._marks = [self._marks[1], (time.monotonic(), self._size())]

    def why(self, what: str, *, all_of_it: bool = False) -> str:
        """Add the reasons that the log gives to a sentence.

        Args:
            what: the sentence.
            all_of_it: read the whole log, and not its end alone: what was logged long ago is no reason for what
                happens now.
        """
        found = failures(self._text(0 if all_of_it else self._marks[0][1]))[-5:]
        return f"{what}: {'; '.join(found)}" if found else what

    def reason_for(self, model: str) -> str:
        """Why Triton did not load a model that it gives no state of."""
        return reason_for(model, self._text(0))

    def served_changed(self) -> list[str]:
        """What was logged since the last call of models that are served though their files were changed, each once."""
        if self._size() == self._read:
            return []
        whole = self._bytes(self._read).rpartition(b"\n")[0]  # of a line that is being written, the rest comes later
        self._read += len(whole) + bool(whole)
        lines = whole.decode("utf-8", "replace").splitlines()
        found = [match["text"].replace(r"\'", "'") for line in lines if (match := _CHANGED_LINE.match(line))]
        new = [text for text in dict.fromkeys(found) if text not in self._changed]
        self._changed.update(new)
        return new

    def _size(self) -> int:
        return self._path.stat().st_size if self._path.exists() else 0

    def _text(self, start: int) -> str:
        return self._bytes(start).decode("utf-8", "replace")

    def _bytes(self, start: int) -> bytes:
        try:
            with self._path.open("rb") as file:
                file.seek(start)
                return file.read()
        except FileNotFoundError:
            return b""
