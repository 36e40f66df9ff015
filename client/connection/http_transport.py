"""Inference over HTTP/1.1 with the binary tensor extension: a thread and a connection for every request in flight."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
import tritonclient.http as httpclient

from cifar10 import CLASS_NAMES
from client.connection import explain
from client.connection.endpoint import Endpoint
from client.connection.model import INPUT, OUTPUT, Model
from client.errors import ClientError, RequestFailedError, WrongShapeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_IN_FLIGHT = 256
"""Threads; in an open loop further requests wait here, and their wait counts as latency."""

_LEGAL = "!$&'()*+,;=:@"
"""In a path (RFC 3986, 3.3) as they stand; Triton takes a name as it comes, and finds none that is quoted."""

_LENGTH = "Inference-Header-Content-Length"

_LARGEST = 1 << 24
"""Bytes of an answer; this project's have at most some kilobytes."""


class HttpTransport:
    """Python's own HTTP client under threads: tritonclient's is for one thread only.

    Args:
        endpoint: where the server is.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._pool = ThreadPoolExecutor(MAX_IN_FLIGHT, thread_name_prefix="http")
        self._local = threading.local()
        self._due: dict[http.client.HTTPConnection, float] = {}
        self._closed = threading.Event()
        threading.Thread(target=self._keep_deadlines, name="http deadlines", daemon=True).start()

    def body(self, model: Model, images: NDArray[np.uint8], slot: None) -> tuple[str, bytes, dict[str, str]]:  # noqa: ARG002  as GrpcTransport's
        """Path, content and headers of a request."""
        tensor = httpclient.InferInput(INPUT[0], list(images.shape), INPUT[1])
        tensor.set_data_from_numpy(images)
        outputs = [httpclient.InferRequestedOutput(OUTPUT[0], binary_data=True)]
        content, length = httpclient.InferenceServerClient.generate_request_body([tensor], outputs=outputs)
        path = f"/v2/models/{quote(model.name, safe=_LEGAL)}/versions/{model.version}/infer"
        return path, bytes(content), {_LENGTH: str(length), **dict(self._endpoint.headers)}

    def send(self, body: tuple[str, bytes, dict[str, str]], done: Callable[[Any, ClientError | None], None]) -> None:
        """Send a request; `done` gets (content, headers) or the error, on one of the threads."""
        self._pool.submit(self._exchange, body, done)

    def logits(self, response: Any, images: int, slot: None) -> NDArray[np.float32]:  # noqa: ARG002
        """The answer, FP32 [images, 10].

        Raises:
            WrongShapeError: it has another shape.
        """
        content, headers = response
        length = headers.get(_LENGTH)
        try:
            result = httpclient.InferenceServerClient.parse_response_body(content, header_length=int(length))
            logits: NDArray[np.float32] | None = result.as_numpy(OUTPUT[0])
        except Exception as error:  # noqa: BLE001  whatever the parser of JSON raises on what is none
            raise RequestFailedError(f"the answer cannot be read: {explain.one_line(str(error))}") from None
        expected = (images, len(CLASS_NAMES))
        if logits is None or logits.shape != expected:
            raise WrongShapeError(
                f"expected logits of shape {expected}, found {logits if logits is None else logits.shape}"
            )
        return logits

    def check(self, response: Any, images: int, *, in_slot: bool) -> None:  # noqa: ARG002
        """See that the answer has the size it should have; cheaper than `logits`.

        Raises:
            WrongShapeError: it has not.
        """
        content, headers = response
        length = headers.get(_LENGTH, "")
        size = len(content) - int(length) if length.isdigit() else 0
        if size != 4 * images * len(CLASS_NAMES):
            raise WrongShapeError(f"expected {4 * images * len(CLASS_NAMES)} bytes of logits, found {size}")

    def version(self, response: Any) -> str:
        """Of the model that answered; empty where the response does not say."""
        content, headers = response
        try:
            return str(json.loads(content[: int(headers.get(_LENGTH))]).get("model_version", ""))
        except (ValueError, TypeError, AttributeError):
            return ""

    def close(self) -> None:
        """Let the threads go."""
        self._closed.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _exchange(
        self, body: tuple[str, bytes, dict[str, str]], done: Callable[[Any, ClientError | None], None]
    ) -> None:
        path, content, headers = body
        connection = self._connection()
        self._due[connection] = due = time.monotonic() + self._endpoint.timeout
        try:
            connection.request("POST", path, content, headers)
            answer = connection.getresponse()
            received = answer.read(_LARGEST)
            if len(received) == _LARGEST:
                raise ValueError(f"an answer of {_LARGEST:,} bytes or more")
            if answer.length or time.monotonic() >= due:  # cut off: by the server, or at the deadline
                raise http.client.IncompleteRead(received, answer.length)
        except Exception as error:  # noqa: BLE001  raised here, it would leave the request without an answer
            connection.close()
            late = isinstance(error, TimeoutError) or time.monotonic() >= due
            done(None, explain.timed_out(self._endpoint) if late else self._unanswered(error))
            return
        finally:
            del self._due[connection]
        if answer.status == http.HTTPStatus.OK:
            done((received, answer.headers), None)
        else:
            done(None, explain.explained(self._endpoint, str(answer.status), _message(received)))

    def _unanswered(self, error: Exception) -> ClientError:
        if isinstance(error, OSError):
            return explain.unreachable(self._endpoint, error)
        return explain.not_triton(self._endpoint, f"{type(error).__name__}: {explain.one_line(str(error))}")

    def _keep_deadlines(self) -> None:
        """End exchanges that take too long: a socket's timeout begins again with every byte that comes."""
        while not self._closed.wait(min(0.5, self._endpoint.timeout / 4)):
            now = time.monotonic()
            for connection in [connection for connection, due in self._due.copy().items() if now > due]:
                if sock := connection.sock:
                    with contextlib.suppress(OSError):
                        sock.shutdown(socket.SHUT_RDWR)

    def _connection(self) -> http.client.HTTPConnection:
        """This thread's; it reconnects by itself after it was closed."""
        if not hasattr(self._local, "connection"):
            host, tls = self._endpoint.host, self._endpoint.tls
            arguments: dict[str, Any] = {"port": self._endpoint.port, "timeout": self._endpoint.timeout}
            self._local.connection = (
                http.client.HTTPSConnection(host, context=tls.context(), **arguments)
                if tls
                else http.client.HTTPConnection(host, **arguments)
            )
        connection: http.client.HTTPConnection = self._local.connection
        return connection


def _message(content: bytes) -> str:
    try:
        return str(json.loads(content)["error"])
    except (ValueError, KeyError, TypeError):
        return ""  # Triton's errors are JSON; what is not says nothing to whoever asked Triton
