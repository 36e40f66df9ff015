"""What can go wrong while measuring, said to a person."""

from __future__ import annotations

from console import UserError


class ClientError(UserError):
    """The client cannot go on until the user or the machine changes something."""


class ServerUnreachableError(ClientError):
    """Nothing answers at the address, or what answered has gone."""


class RequestRejectedError(ClientError):
    """The server's queue policy refused a request."""


class RequestFailedError(ClientError):
    """The server answered a request with an error, or with something else than was asked for."""


class WrongShapeError(RequestFailedError):
    """The answer is not as large as the question."""


class RequestTimedOutError(RequestFailedError):
    """No answer came in time."""
