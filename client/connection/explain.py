"""What Triton, the network and other servers answer when something fails, turned into what happened and what to do."""

from __future__ import annotations

import errno
import http
import re
import resource
import socket

from client.connection.endpoint import DEFAULT_PORT, Endpoint, Transport
from client.connection.tls_trouble import trouble
from client.errors import (
    ClientError,
    RequestFailedError,
    RequestRejectedError,
    RequestTimedOutError,
    ServerUnreachableError,
)

_REJECTED = ("exceeds maximum queue size", "request timeout expired")
"""Triton's queue policies: the queue is full; the request waited in it for longer than it may."""

_NOT_HTTP2 = ("failed parsing http/2", "http1.x server", "expected settings frame")
"""gRPC's words for a server that speaks HTTP/1, or a gateway that answers instead of one."""

_HTTP2_STATUS = re.compile(r"received http2 header with status: (?P<status>[0-9]{3})", re.IGNORECASE)
"""gRPC's words for an answer that is HTTP/2 and none of a gRPC server: a gateway, or a web server."""

_A_PAGE = "data frame with end_stream flag received"
"""gRPC's words for a body without the trailers that each of its own answers has, under the status 200."""

_NOT_THE_PROTOCOL = ("exception deserializing response", "error parsing response")
"""gRPC's words for an answer of another service than was asked for."""

_CLOSED = ("socket closed", "connection reset", "recvmsg", "end of tcp stream")
"""While connecting: Triton's HTTP service does so to whoever speaks HTTP/2, a server with TLS to whoever does not."""

_HANDSHAKE = ("handshake", "ssl_error", "alpn", "cannot check peer")
"""The same of a connection that both want to secure."""

_NO_SUCH_NAME = ("errors resolving", "dns resolution", "name resolution")
"""gRPC's own words for a host that the name service does not find."""

_NOBODY = (
    "failed to connect", "connection refused", "connection reset", "socket closed", "transport closed", "broken pipe",
    "recvmsg", "sendmsg", "stream removed", "goaway", "endpoint closing",
    "no route to host", "network is unreachable", "handshake", "keepalive", "channel closed", "connection attempt",
    "timed out", "end of tcp stream", "locally cancelled", *_NO_SUCH_NAME,
)  # fmt: skip
"""gRPC's own words under the status UNAVAILABLE; what Triton says under the same status is something else."""

_MESSAGE = 1000
"""Characters of a server's message: why a model is refused, with paths and two digests, and what to do about it."""

_STOPPING = ("server is stopping", "server exiting", "server is not ready", "shutting down")

_MEMORY = ("out of memory", "bad_alloc", "failed to allocate", "cannot allocate memory")

_RESTRICTED = re.compile(r"restricted, expecting header '(?P<header>[^']+)'")
"""What Triton says of a protocol or API that --grpc-restricted-protocol or --http-restricted-api keeps for others."""

_REFUSED = ("UNAUTHENTICATED", "PERMISSION_DENIED", "401", "403")


def explained(endpoint: Endpoint, status: str, message: str) -> ClientError:
    """The error for a failed call.

    Args:
        endpoint: whom it was sent to.
        status: the gRPC status code's name, or the HTTP status.
        message: what came with it.
    """
    message = one_line(message, _MESSAGE)
    status = status.removeprefix("StatusCode.")
    if found := _HTTP2_STATUS.search(message):
        status, message = found["status"], ""
    if status == "DEADLINE_EXCEEDED":
        return timed_out(endpoint)
    return (
        _of_the_request(message)
        or _of_a_limit(endpoint, status, message)
        or _of_a_restriction(endpoint, message)
        or _of_tls(endpoint, message)
        or _of_another_server(endpoint, status, message)
        or _of_the_server(endpoint, status, message)
        or RequestFailedError(message or f"the server answered {status}")
    )


def timed_out(endpoint: Endpoint) -> RequestTimedOutError:
    """No answer within the endpoint's timeout."""
    return RequestTimedOutError(f"no answer within {endpoint.timeout:g} s", "give it longer: --timeout SECONDS")


def unreachable(endpoint: Endpoint, reason: object) -> ServerUnreachableError:
    """Nothing answers at the endpoint, or this process may open no more connections to it."""
    if isinstance(reason, OSError) and reason.errno in (errno.EMFILE, errno.ENFILE):
        allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return ServerUnreachableError(
            f"this process may have {allowed:,} files open, and every request in flight is a connection",
            "lower --concurrency or --rate, or raise the limit: ulimit -n",
        )
    if found := _of_tls(endpoint, str(reason)):
        return found
    closed = isinstance(reason, ConnectionError) and not isinstance(reason, ConnectionRefusedError)
    if closed and (found := _of_plain_http(endpoint)):
        return found
    if isinstance(reason, socket.gaierror) or any(words in str(reason).lower() for words in _NO_SUCH_NAME):
        return ServerUnreachableError(
            f"no host is found under the name {endpoint.host!r} ({reason})",
            "is it spelt right in --url HOST:PORT, and does this machine reach its name service?",
        )
    return ServerUnreachableError(
        f"no Triton answers at {endpoint.url} ({reason})", "start one: make serve-local, or make serve"
    )


def not_triton(endpoint: Endpoint, found: str) -> ServerUnreachableError:
    """Something answers at the endpoint, and it is not the service of Triton's that the transport uses."""
    if error := _of_plain_http(endpoint):
        return error
    kind = "HTTP" if endpoint.transport is Transport.HTTP else "gRPC"
    port = DEFAULT_PORT[endpoint.transport]
    return ServerUnreachableError(
        f"what answers at {endpoint.url} is not Triton's {kind} service: {found}",
        f"is it the right port? Triton's {kind} service has {port} by default (--url, --transport)",
    )


def cut_off(endpoint: Endpoint, where: str) -> ServerUnreachableError:
    """The server, or what is between, closed before an answer was whole."""
    return ServerUnreachableError(
        f"{endpoint.url} closed the connection in the middle of an answer ({where})",
        "has the server ended? Its log, or that of the gateway before it, says why",
    )


def one_line(text: str, most: int = 300) -> str:
    """A server's words without line breaks and control characters, cut where they are long."""
    words = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return words if len(words) <= most else f"{words[:most]}…"


def _of_a_limit(endpoint: Endpoint, status: str, message: str) -> RequestRejectedError | None:
    """Who stands before a Triton limits its requests by these; a message over a size has the same status of gRPC's."""
    if status != "429" and (status != "RESOURCE_EXHAUSTED" or "larger than max" in message.lower()):
        return None
    return RequestRejectedError(
        f"the server at {endpoint.url}, or a gateway before it, takes no more requests now: "
        f"{message or _named(status)}",
        "lower --concurrency or --rate",
    )


def _of_the_request(message: str) -> ClientError | None:
    """What Triton says of one request while it serves others; over gRPC under UNAVAILABLE, too."""
    lower = message.lower()
    if any(words in lower for words in _REJECTED):
        return RequestRejectedError(f"the server's queue refused a request: {message}", "lower --concurrency or --rate")
    if any(words in lower for words in _MEMORY):
        return RequestFailedError(f"the server is out of memory: {message}", "smaller batches, or fewer instances")
    if "unknown model" in lower:
        return RequestFailedError(message)
    return None


def _of_a_restriction(endpoint: Endpoint, message: str) -> ClientError | None:
    """Over gRPC it comes under UNAVAILABLE, as if no server were there."""
    if restricted := _RESTRICTED.search(message):
        return ClientError(
            f"the server at {endpoint.url} refuses: {message}", f"its key goes into --header {restricted['header']}:KEY"
        )
    return None


def _of_tls(endpoint: Endpoint, message: str) -> ServerUnreachableError | None:
    """A connection that does not come about, where TLS is the reason: gRPC itself does not say."""
    lower = message.lower()
    if endpoint.transport is Transport.HTTP:  # whose answer to a client without a certificate is HTTP
        return _if_tls_is_why(endpoint) if "ssl" in lower else None
    may_be = "failed to connect" in lower and any(words in lower for words in (*_CLOSED, *_HANDSHAKE))
    return _if_tls_is_why(endpoint) if may_be else None


def _of_plain_http(endpoint: Endpoint) -> ServerUnreachableError | None:
    """To HTTP without TLS, a port with TLS answers an alert, a page with 400, or nothing: each server its own way."""
    plain = endpoint.transport is Transport.HTTP and endpoint.tls is None
    return _if_tls_is_why(endpoint) if plain else None


def _if_tls_is_why(endpoint: Endpoint) -> ServerUnreachableError | None:
    found = trouble(endpoint)
    return ServerUnreachableError(f"no connection to {endpoint.url}: {found[0]}", found[1]) if found else None


def _of_another_server(endpoint: Endpoint, status: str, message: str) -> ClientError | None:
    """What a server says that is not Triton: each of Triton's own errors over HTTP is JSON with a sentence."""
    lower = message.lower()
    if status in _REFUSED:
        return ClientError(
            f"the server at {endpoint.url} refuses: {message or _named(status)}",
            "--tls-cert FILE --tls-key FILE" if "certificate" in lower else "credentials go into --header NAME:VALUE",
        )
    if any(words in lower for words in _NOT_HTTP2):
        return not_triton(endpoint, "it speaks HTTP/1, or a gateway answers in its place")
    if "failed to connect" in lower and any(words in lower for words in _CLOSED):
        return ServerUnreachableError(
            f"no Triton answers at {endpoint.url}: something takes connections there and closes them at once",
            f"is it the gRPC port ({DEFAULT_PORT[endpoint.transport]} by default) and no other? Does it want --tls-ca?",
        )
    if _A_PAGE in lower:
        return not_triton(endpoint, "it answers with a web page, or what else is not gRPC's, over HTTP/2")
    if any(words in lower for words in _NOT_THE_PROTOCOL):
        return not_triton(endpoint, f"a gRPC server with other messages ({message})")
    if status == "UNIMPLEMENTED":
        return not_triton(endpoint, f"a gRPC server without this call ({message})")
    if not status.isdigit() or message:
        return None
    if status in ("502", "503", "504"):
        return ServerUnreachableError(
            f"a gateway at {endpoint.url} answers {_named(status)}: no Triton behind it", "is Triton up behind it?"
        )
    return not_triton(endpoint, f"it answers {_named(status)}")


def _of_the_server(endpoint: Endpoint, status: str, message: str) -> ClientError | None:
    lower = message.lower()
    if any(words in lower for words in _STOPPING):
        return ServerUnreachableError(f"Triton at {endpoint.url} is stopping ({message})", "start it again")
    if status == "CANCELLED" or (status == "UNAVAILABLE" and (not message or any(word in lower for word in _NOBODY))):
        return unreachable(endpoint, message)
    return None


def _named(status: str) -> str:
    try:
        return f"{status} {http.HTTPStatus(int(status)).phrase}"
    except ValueError:
        return status
