"""Triton's log, read for a person."""

from __future__ import annotations

import re
from pathlib import Path

_ERROR_LINE = re.compile(r'^E\d{4} [\d:.]+ +\d+ [\w./]+:\d+\] "?(?P<text>.*?)"?$')
_FAILED_MODEL = re.compile(r"failed to load '(?P<model>[^']+)' version (?P<version>-?\d+): (?P<reason>.*)")
_FATAL_LINE = re.compile(r"^error: (?P<text>creating server: .*)$")
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
            others[_first_line(fatal["text"])] = None
        if not (match := _ERROR_LINE.match(line)) or match["text"].startswith(_ABSENT_GPU):
            continue
        if failed := _FAILED_MODEL.search(match["text"]):
            reasons[f"{failed['model']} version {failed['version']}: {_first_line(failed['reason'])}"] = None
        else:
            others[_first_line(match["text"])] = None
    return list(reasons or others)


def _first_line(text: str) -> str:
    """A message without the Python stack that Triton appends to it (its log writes line ends as a backslash and n)."""
    text = text.split(r"\n\nAt:")[0].replace(r"\n", " ")
    return re.sub(r"^(Internal|Invalid argument)( -)?:? |TritonModelException: ", "", text).replace(r"\'", "'").strip()


def read(path: Path) -> str:
    """The log so far; empty when there is none."""
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return ""
