"""Why a TLS connection does not come about: gRPC itself reports only that a socket was closed."""

from __future__ import annotations

import socket
import ssl

from client.connection.endpoint import Endpoint, Transport

_PATIENCE = 5.0
"""Seconds for each step of the connection that is made to find out."""
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""What an HTTP/2 client says first (RFC 9113, 3.4): the server answers with its settings, if it answers this client."""
_NEEDS_TLS = ("the server speaks TLS", "--tls-ca FILE names the authority that signed its certificate")
_NO_ALPN = (
    "its TLS offers no HTTP/2 (by ALPN), without which gRPC takes no connection",
    "is it the gRPC port? A gateway before it must offer h2; --transport http does without",
)


def trouble(endpoint: Endpoint) -> tuple[str, str] | None:
    """Connect once more, and see how far it goes.

    With TLS 1.3 a server judges the client's certificate after the client believes to be connected, and gRPC's then
    closes without a word: so what is looked for is its first answer.

    Returns:
        What is wrong and what to do; None when TLS is not the reason.
    """
    try:
        plain = socket.create_connection((endpoint.host, endpoint.port), min(_PATIENCE, endpoint.timeout))
    except OSError:
        return None
    with plain:
        try:
            with _context(endpoint).wrap_socket(plain, server_hostname=endpoint.host) as secured:
                if endpoint.tls is None:
                    return _NEEDS_TLS
                if endpoint.transport is not Transport.HTTP and secured.selected_alpn_protocol() is None:
                    return _NO_ALPN
                secured.sendall(_PREFACE)
                answer = secured.recv(1)
        except ssl.SSLCertVerificationError as error:
            return (
                f"the server's certificate is not accepted: {error.verify_message}",
                "is --tls-ca its authority, and does the certificate name the host of --url?",
            )
        except OSError as error:
            return _handshake_trouble(endpoint, error)
    return None if answer else _client_certificate_trouble(endpoint)


def _context(endpoint: Endpoint) -> ssl.SSLContext:
    if endpoint.tls:
        context = endpoint.tls.context()
    else:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # nothing is sent: this only asks whether the server speaks TLS
    if endpoint.transport is not Transport.HTTP:
        context.set_alpn_protocols(["h2"])
    return context


def _handshake_trouble(endpoint: Endpoint, error: OSError) -> tuple[str, str] | None:
    if endpoint.tls is None or isinstance(error, TimeoutError):
        return None
    reason = getattr(error, "reason", None) or ""
    if "NO_APPLICATION_PROTOCOL" in reason:
        return _NO_ALPN
    if "CERTIFICATE" in reason or "UNKNOWN_CA" in reason:  # an alert of the server's
        return _client_certificate_trouble(endpoint)
    if isinstance(error, ssl.SSLError):
        return "the server does not speak TLS", "leave out --tls-ca, or ask another port"
    return None


def _client_certificate_trouble(endpoint: Endpoint) -> tuple[str, str]:
    certificate = endpoint.tls and endpoint.tls.certificate
    if certificate is None:
        return "the server asks for a client's certificate", "--tls-cert FILE --tls-key FILE"
    return (
        f"the server closes the connection: it does not accept the certificate in {certificate}",
        "it may have expired, or be signed by an authority that the server does not trust",
    )
