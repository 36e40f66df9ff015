"""Ports: checked before the server starts, so that a busy one is named instead of found in a log."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass

from server.errors import ServerError


@dataclass(frozen=True)
class Ports:
    """Where the server listens.

    Attributes:
        host: an address of this machine, or its name; one of IPv6 without brackets.
        http: port of HTTP/REST.
        grpc: port of gRPC.
        metrics: port of Prometheus metrics.
    """

    host: str
    http: int
    grpc: int
    metrics: int

    @property
    def is_ipv6(self) -> bool:
        """Whether the host is an address of IPv6."""
        return ":" in self.host

    @property
    def http_address(self) -> str:
        """HOST:PORT of HTTP, as in a URL; the others' likewise."""
        return address(self.host, self.http)

    @property
    def grpc_address(self) -> str:
        """HOST:PORT of gRPC."""
        return address(self.host, self.grpc)

    @property
    def metrics_address(self) -> str:
        """HOST:PORT of the metrics."""
        return address(self.host, self.metrics)


def address(host: str, port: int) -> str:
    """HOST:PORT; an address of IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reserve(host: str, http: int, grpc: int, metrics: int) -> Ports:
    """Choose a free port for each 0 and check the others.

    All are bound at once and released together, so that no two are the same. Another process may still take one
    before Triton binds it; Triton then says so.

    Raises:
        ServerError: a port is in use, or `host` is not an address of this machine.
    """
    if host.startswith("[") and host.endswith("]"):  # as in a URL
        host = host[1:-1]
    chosen = {}
    with contextlib.ExitStack() as sockets:
        for option, port in (("http", http), ("grpc", grpc), ("metrics", metrics)):
            try:
                listener = sockets.enter_context(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET))
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Triton does: TIME_WAIT is not busy
                listener.bind((host, port))
                listener.listen()
            except OSError as error:
                raise ServerError(
                    f"cannot listen on {address(host, port)} (--{option}-port): {error.strerror}",
                    f"end what uses it, or choose another: --{option}-port 0 takes a free one",
                ) from None
            chosen[option] = listener.getsockname()[1]
    return Ports(host, **chosen)
