"""A TCP server that sends bytes, whatever it is asked: what may answer where a Triton was expected."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator

_HANDSHAKE = b"\x16"
"""With which a TLS client begins."""


@contextlib.contextmanager
def answering(
    parts: Callable[[], Iterable[bytes]],
    *,
    closes: bool = False,
    resets: bool = False,
    tls: ssl.SSLContext | None = None,
) -> Iterator[str]:
    """Send every connection the same parts; yields HOST:PORT.

    Args:
        parts: what is sent, made anew for each connection.
        closes: close it then; otherwise nothing more comes, until the block ends.
        resets: the same, as the system does for a process that was killed with something unread.
        tls: secure each connection with it, unless the other side begins without.
    """
    ended = threading.Event()

    def answered(plain: socket.socket) -> None:
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            stack.enter_context(plain)
            plain.settimeout(10)
            secures = tls is not None and plain.recv(1, socket.MSG_PEEK) == _HANDSHAKE
            connection = stack.enter_context(tls.wrap_socket(plain, server_side=True)) if secures else plain
            connection.recv(65536)
            for part in parts():
                if ended.is_set():
                    return
                connection.sendall(part)
            if resets:
                time.sleep(0.2)  # what was sent before is dropped with the connection, unless it has arrived
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif closes:
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):  # closed with something unread, the system would reset the connection
                    pass
            else:
                ended.wait()

    try:
        with accepting(answered) as url:
            yield url
    finally:
        ended.set()


@contextlib.contextmanager
def accepting(answered: Callable[[socket.socket], None]) -> Iterator[str]:
    """Hand every connection to `answered`, each on a thread of its own; yields HOST:PORT."""
    server = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=answered, args=(server.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.getsockname()[1]}"
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
