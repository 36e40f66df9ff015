"""What can go wrong while serving, said to a person."""

from __future__ import annotations

from console import UserError


class ServerError(UserError):
    """The embedded server cannot start or go on until the user or the machine changes something."""
