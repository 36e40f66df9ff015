"""Where the server is and how to reach it: values that a worker process can be handed."""

from __future__ import annotations

import enum
import ipaddress
import re
import ssl
from dataclasses import dataclass
from pathlib import Path

from client.errors import ClientError


class Transport(str, enum.Enum):
    """How images get to the server and logits back."""

    GRPC = "grpc"
    HTTP = "http"
    SYSTEM_SHM = "system-shm"  # control messages over gRPC, tensors in POSIX shared memory
    CUDA_SHM = "cuda-shm"  # the same, tensors in a GPU's memory


DEFAULT_PORT = {Transport.GRPC: 8001, Transport.HTTP: 8000, Transport.SYSTEM_SHM: 8001, Transport.CUDA_SHM: 8001}


_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
"""Of a host; one that is not ASCII goes in its xn-- form."""


@dataclass(frozen=True)
class Tls:
    """Certificates, as PEM files.

    Attributes:
        ca: authorities that may have signed the server's certificate.
        certificate: the client's own, where the server asks for one.
        key: its private key.

    Raises:
        ClientError: a file cannot be read, is not PEM, or the certificate has no key.
    """

    ca: Path
    certificate: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ClientError("--tls-cert and --tls-key belong together", "give both, or neither")
        try:
            self.context()
        except (OSError, ssl.SSLError) as error:
            files = ", ".join(str(file) for file in (self.ca, self.certificate, self.key) if file)
            raise ClientError(f"cannot use the certificates in {files}: {error}", "expected PEM files") from None

    def context(self) -> ssl.SSLContext:
        """For Python's own sockets."""
        context = ssl.create_default_context(cafile=str(self.ca))
        if self.certificate:
            context.load_cert_chain(self.certificate, self.key)
        return context


@dataclass(frozen=True)
class Endpoint:
    """A server's address.

    Attributes:
        url: HOST:PORT of the service that the transport uses.
        transport: how to talk to it.
        timeout: seconds for one request.
        tls: certificates, or None for plain text.
        headers: (name, value) sent with every request; names in lower case, as HTTP/2 wants them.

    Raises:
        ClientError: the address is malformed.
    """

    url: str
    transport: Transport = Transport.GRPC
    timeout: float = 60
    tls: Tls | None = None
    headers: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        host, colon, port = self.url.rpartition(":")
        if not (_is_host(host) and colon and re.fullmatch("[0-9]{1,5}", port) and 0 < int(port) < 65536):
            kind = "HTTP" if self.transport is Transport.HTTP else "gRPC"
            raise ClientError(
                f"the server's address must be HOST:PORT, with a port of 1 to 65535; found {self.url!r}",
                f"as in --url 127.0.0.1:{DEFAULT_PORT[self.transport]} (the {kind} port)",
            )

    @property
    def host(self) -> str:
        """A name or an address; one of IPv6 without its brackets."""
        return self.url.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """1 to 65535."""
        return int(self.url.rpartition(":")[2])

    @property
    def is_local(self) -> bool:
        """Whether it is this machine's loopback, or what reaches it."""
        return self.host in ("localhost", "::1", "::", "0.0.0.0") or self.host.startswith("127.")  # noqa: S104


def _is_host(text: str) -> bool:
    """Whether it is a name, an IPv4 address, or an IPv6 address in brackets."""
    try:
        if text.startswith("["):
            return text.endswith("]") and bool(ipaddress.IPv6Address(text[1:-1]))
        if re.fullmatch("[0-9.]+", text):
            return bool(ipaddress.IPv4Address(text))
        return _NAME.fullmatch(text) is not None and len(text) <= 253
    except ValueError:
        return False
