"""One exchange over HTTP/1.1 that ends in time and within a size, whatever the other side sends.

A socket's own timeout begins again with every byte that comes, and says nothing of how many may come.
"""

from __future__ import annotations

import http.client
import io
import queue
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from client.connection import explain
from client.connection.endpoint import Endpoint
from client.errors import ClientError

MOST = 64 << 20
"""Bytes of an answer, its head included; a server with thousands of models says some megabytes of itself."""

_BLOCK = 1 << 16
_LEGAL = "!$&'()*+,;=:@"
"""In a path (RFC 3986, 3.3) as they stand; Triton takes a name as it comes, and finds none that is quoted."""


class TooLargeError(http.client.HTTPException):
    """An answer without an end, or nearly so."""

    def __init__(self) -> None:
        super().__init__(f"an answer of more than {MOST >> 20} MiB")


class CutOffError(http.client.HTTPException):
    """The other side closed before its answer was whole."""


@dataclass(frozen=True)
class Reply:
    """A whole answer.

    Attributes:
        status: as in 200.
        headers: its head.
        content: its body.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes


class HttpConnection(http.client.HTTPConnection):
    """A connection to an endpoint, for one exchange at a time; it connects by itself, and anew after it was closed.

    Args:
        endpoint: its timeout is for a whole exchange: finding the host, connecting, sending and receiving.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint.host, endpoint.port)
        self._tls = endpoint.tls
        self._timeout = endpoint.timeout
        self._due = 0.0
        if self._tls:
            self.default_port = http.client.HTTPS_PORT
        self.response_class: Any = self._response

    def exchange(self, method: str, path: str, content: bytes | None, headers: Mapping[str, str]) -> Reply:
        """Ask, and wait for the whole answer; closes after a failure.

        Raises:
            TimeoutError: the time is up.
            OSError: nobody there, or gone.
            http.client.HTTPException: what came is no answer, too large, or not whole.
        """
        self._due = time.monotonic() + self._timeout
        try:
            self.request(method, path, content, dict(headers))
            answer = self.getresponse()
            if self._watched.at_end:  # the body is not asked for yet, and http.client takes half a head for all of it
                raise CutOffError("in its head")
            return Reply(answer.status, answer.headers, _body(answer))  # type: ignore[arg-type]  # a Message is one
        except BaseException:
            self.close()
            raise

    def connect(self) -> None:
        """Connect, and secure the connection where the endpoint has certificates."""
        self.sock = _connected(self.host, self.port, self._due)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls:
            self.sock.settimeout(_left(self._due))
            self.sock = self._tls.context().wrap_socket(self.sock, server_hostname=self.host)

    def send(self, data: Any) -> None:
        """Send it in parts: a secured socket's timeout is for each of them."""
        if self.sock is None:
            self.connect()
        view = memoryview(data)
        for start in range(0, len(view), _BLOCK):
            self.sock.settimeout(_left(self._due))
            self.sock.sendall(view[start : start + _BLOCK])

    def _response(self, sock: socket.socket, *args: Any, **options: Any) -> http.client.HTTPResponse:
        self._watched = _Watched(sock, self._due)
        return http.client.HTTPResponse(self._watched, *args, **options)  # type: ignore[arg-type]


class _Watched(io.RawIOBase):
    """A socket's bytes, with a look at the clock and at their number whenever some are received."""

    def __init__(self, sock: socket.socket, due: float) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)  # keeps the socket open for the body when its owner closes it
        self._due = due
        self._received = 0
        self.at_end = False
        """Whether the last that was asked for was not there any more."""

    def makefile(self, _mode: str) -> io.BufferedReader:
        """What HTTPResponse asks a socket for."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(_left(self._due))
        size = self._raw.readinto(buffer)
        self._received += size or 0
        self.at_end = not size
        if self._received > MOST:
            raise TooLargeError
        return int(size or 0)

    def close(self) -> None:
        self._raw.close()
        super().close()


def failure(endpoint: Endpoint, error: Exception) -> ClientError:
    """What an exchange's exception means."""
    if isinstance(error, TimeoutError):
        return explain.timed_out(endpoint)
    if isinstance(error, (CutOffError, http.client.IncompleteRead)):
        return explain.cut_off(endpoint, str(error))
    if isinstance(error, OSError):
        return explain.unreachable(endpoint, error)
    if isinstance(error, TooLargeError):
        return explain.not_triton(endpoint, str(error))
    return explain.not_triton(endpoint, f"{type(error).__name__}: {explain.one_line(str(error))}")


def quoted(name: str) -> str:
    """A model's name or version, as it stands in a path."""
    return quote(name, safe=_LEGAL)


def _body(answer: http.client.HTTPResponse) -> bytes:
    if (answer.length or 0) > MOST:  # room for all of it would be made at once
        raise TooLargeError
    blocks = []
    while block := answer.read(_BLOCK):
        blocks.append(block)
    if answer.length:
        size = sum(map(len, blocks))
        raise CutOffError(f"after {size:,} of {size + answer.length:,} bytes")
    return b"".join(blocks)


def _left(due: float) -> float:
    left = due - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _connected(host: str, port: int, due: float) -> socket.socket:
    """A connection to the first of the host's addresses that takes one."""
    addresses = _addresses(host, port, due)
    for number, (family, kind, protocol, _, address) in enumerate(addresses):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(_left(due) / (len(addresses) - number))
            sock.connect(address)
        except OSError:
            sock.close()
            if number == len(addresses) - 1:
                raise
        else:
            return sock
    raise OSError(f"{host} has no address")


def _addresses(host: str, port: int, due: float) -> list[Any]:
    """Asked on another thread, as the system's resolver knows no deadline; one that is late is left alone."""
    found: queue.SimpleQueue[list[Any] | OSError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            found.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            found.put(error if isinstance(error, OSError) else socket.gaierror(str(error)))

    threading.Thread(target=ask, name="resolver", daemon=True).start()
    try:
        answer = found.get(timeout=_left(due))
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(answer, OSError):
        raise answer
    return answer
