"""What can go wrong while serving, said to a person."""

from __future__ import annotations

from console import UserError, visible


class ServerError(UserError):
    """The embedded server cannot start or go on until the user or the machine changes something."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(one_line(message), one_line(hint))


one_line = visible
