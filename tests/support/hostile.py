"""Names that a shell, a log or a protocol takes for something else, and a place where whatever they execute shows."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.triton import ROOT

NAMES = {
    "space": "a b",
    "spaces_around": " a ",
    "tab": "a\tcanary",
    "single_quote": "it's",
    "single_quotes": "'; canary; '",
    "double_quote": '6"',
    "double_quotes": '"; canary; "',
    "back_ticks": "`canary`",
    "substitution": "$(canary)",
    "arithmetic": "$((canary))",
    "variable": "$HOME",
    "default_value": "${NONE:-`canary`}",
    "dollar_quote": "$'\\n'canary",
    "semicolon": "a;canary;b",
    "background": "a&canary&b",
    "and": "a&&canary",
    "or": "a||canary",
    "pipe": "a|canary",
    "subshell": "(canary)",
    "group": "{ canary; }",
    "braces": "a{b,canary}",
    "redirection": "a>written",
    "process_substitution": "<(canary)",
    "newline": "a\ncanary\nb",
    "carriage_return": "a\rcanary",
    "escape": "\x1b[31mred",
    "backslash": "a\\canary",
    "comment": "#canary",
    "history": "!canary",
    "every": "*",
    "question_mark": "?",
    "brackets": "[a-z]",
    "home": "~",
    "option": "-rf",
    "long_option": "--load-model=x",
    "assignment": "A=canary",
    "colon": "a:b",
    "comma": "a,b",
    "percent": "%s%20",
    "umlauts": "größe",
    "chinese": "模型",
    "emoji": "🐦",
    "right_to_left": "a\u202etxt",
    "zero_width": "a\u200bb",
    "not_utf8": "a\udcffb",
}
"""What is hostile about a name -> the name; `canary` is a program, `written` would be a file."""


class Sandbox:
    """An empty working directory and a PATH on which `canary` writes down that it was executed.

    Args:
        directory: an empty directory.
    """

    def __init__(self, directory: Path) -> None:
        self.cwd = directory / "cwd"
        self.cwd.mkdir()
        self._executed = directory / "executed"
        canary = directory / "bin/canary"
        canary.parent.mkdir()
        canary.write_text(f'#!/bin/sh\necho "$0 $*" >> "{self._executed}"\n')
        canary.chmod(0o755)
        self.environment = {
            **os.environ,
            "PATH": f"{canary.parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def traces(self) -> list[str]:
        """What was executed, and what was written into the working directory."""
        executed = self._executed.read_text().splitlines() if self._executed.exists() else []
        return executed + sorted(path.name for path in self.cwd.iterdir())
