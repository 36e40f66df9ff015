"""Ports: checked before the server starts, so that a busy one is named instead of found in a log."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from server.errors import ServerError


@dataclass(frozen=True)
class Ports:
    """Where the server listens.

    Attributes:
        host: an address of this machine.
        http: port of HTTP/REST.
        grpc: port of gRPC.
        metrics: port of Prometheus metrics.
    """

    host: str
    http: int
    grpc: int
    metrics: int


def reserve(host: str, http: int, grpc: int, metrics: int) -> Ports:
    """Choose a free port for each 0 and check the others.

    All are bound at once and released together, so that no two are the same. Another process may still take one
    before Triton binds it; Triton then says so.

    Raises:
        ServerError: a port is in use, or `host` is not an address of this machine.
    """
    sockets = []
    chosen = {}
    try:
        for option, port in (("http", http), ("grpc", grpc), ("metrics", metrics)):
            listener = socket.socket()
            sockets.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Triton does: TIME_WAIT is not busy
            try:
                listener.bind((host, port))
                listener.listen()
            except OSError as error:
                raise ServerError(
                    f"cannot listen on {host}:{port} (--{option}-port): {error.strerror}",
                    f"end what uses it, or choose another: --{option}-port 0 takes a free one",
                ) from None
            chosen[option] = listener.getsockname()[1]
    finally:
        for listener in sockets:
            listener.close()
    return Ports(host, **chosen)
