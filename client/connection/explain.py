"""What Triton and the network answer when something fails, turned into what happened and what to do."""

from __future__ import annotations

from client.connection.endpoint import Endpoint
from client.errors import (
    ClientError,
    RequestFailedError,
    RequestRejectedError,
    RequestTimedOutError,
    ServerUnreachableError,
)


def explained(endpoint: Endpoint, status: str, message: str) -> ClientError:
    """The error for a failed call.

    Args:
        endpoint: whom it was sent to.
        status: the gRPC status code's name, or the HTTP status.
        message: what came with it.
    """
    message = message.strip()
    status = status.removeprefix("StatusCode.")
    if "exceeds maximum queue size" in message.lower():
        return RequestRejectedError(f"the server's queue is full: {message}", "lower --concurrency or --rate")
    if status == "DEADLINE_EXCEEDED":
        return timed_out(endpoint)
    if "unknown model" in message.lower():  # a server that is there says UNAVAILABLE of a model or version that is not
        return RequestFailedError(message)
    if status in ("UNAVAILABLE", "CANCELLED"):
        return unreachable(endpoint, message)
    if status in ("UNAUTHENTICATED", "PERMISSION_DENIED", "401", "403"):
        return ClientError(
            f"the server at {endpoint.url} refuses: {message}", "credentials go into --header NAME:VALUE"
        )
    return RequestFailedError(message or f"the server answered {status}")


def timed_out(endpoint: Endpoint) -> RequestTimedOutError:
    """No answer within the endpoint's timeout."""
    return RequestTimedOutError(f"no answer within {endpoint.timeout:g} s", "give it longer: --timeout SECONDS")


def unreachable(endpoint: Endpoint, reason: object) -> ServerUnreachableError:
    """Nothing answers at the endpoint."""
    return ServerUnreachableError(
        f"no Triton answers at {endpoint.url} ({reason})", "start one: make serve-local, or make serve"
    )
