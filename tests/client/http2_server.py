"""A server of HTTP/2 that is none of gRPC: a gateway's error page, or a web server's, frame by frame (RFC 9113)."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from collections.abc import Iterator

from tests.client.raw_server import accepting

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _SETTINGS = 0, 1, 4
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1


def frame(kind: int, flags: int, stream: int, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + content


def literal(name: str, value: str) -> bytes:
    """A header field without indexing and without Huffman's code (RFC 7541, 6.2.2)."""
    return b"\0" + b"".join(bytes((len(text),)) + text.encode() for text in (name, value))


@contextlib.contextmanager
def http2(
    status: int,
    body: bytes | None,
    *headers: tuple[str, str],
    tls: ssl.SSLContext | None = None,
    leaves: bool = False,
) -> Iterator[str]:
    """Answer every request the same; yields HOST:PORT.

    Args:
        status: of the answer.
        body: its content; None for a head alone.
        headers: its other fields, names in lower case.
        tls: secure each connection with it.
        leaves: close the connection before the answer's end.
    """
    block = b"".join(literal(*header) for header in ((":status", str(status)), *headers))

    def answer(connection: socket.socket) -> None:
        file = connection.makefile("rb")
        file.read(len(_PREFACE))
        connection.sendall(frame(_SETTINGS, 0, 0))
        while head := file.read(9):
            size, kind = int.from_bytes(head[:3], "big"), head[3]
            stream = int.from_bytes(head[5:], "big")
            file.read(size)
            if kind == _SETTINGS and not head[4] & _ACK:
                connection.sendall(frame(_SETTINGS, _ACK, 0))
            elif kind == _HEADERS:
                alone = _END_STREAM if body is None else 0
                connection.sendall(frame(_HEADERS, _END_HEADERS | alone, stream, block))
                if body is not None:
                    connection.sendall(frame(_DATA, 0 if leaves else _END_STREAM, stream, body))
                if leaves:
                    return

    def answered(plain: socket.socket) -> None:
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            stack.enter_context(plain)
            plain.settimeout(20)
            answer(stack.enter_context(tls.wrap_socket(plain, server_side=True)) if tls else plain)

    with accepting(answered) as url:
        yield url
