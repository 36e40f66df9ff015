"""The two ways a command may fail that are not a bug."""

from __future__ import annotations

import enum


def visible(text: str) -> str:
    """A text with whatever is not to be seen, line ends among it, written as Python writes it in a string."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


class ExitCode(enum.IntEnum):
    """What a command's exit status means."""

    DONE = 0
    USER = 1  # the user or the machine must change something
    GATE = 2  # a gate said no: accuracy, parity, stability
    INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it


class UserError(Exception):
    """Something the user or the machine must change; shown as one line and a hint, without a traceback.

    Args:
        message: what went wrong: what was expected and what was found.
        hint: what to do about it; empty when the message says it already.
    """

    exit_code = ExitCode.USER

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class GateError(UserError):
    """A measured figure is outside its limit: the work was done, and its result must not be used."""

    exit_code = ExitCode.GATE
