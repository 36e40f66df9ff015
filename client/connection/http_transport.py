"""Inference over HTTP/1.1 with the binary tensor extension: a thread and a connection for every request in flight."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import tritonclient.http as httpclient

from cifar10 import CLASS_NAMES
from client.connection import explain
from client.connection.control import INPUT, OUTPUT, Model
from client.connection.endpoint import Endpoint
from client.errors import ClientError, RequestFailedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_IN_FLIGHT = 256
"""Threads; in an open loop further requests wait here, and their wait counts as latency."""

_LENGTH = "Inference-Header-Content-Length"


class HttpTransport:
    """Python's own HTTP client under threads: tritonclient's is for one thread only.

    Args:
        endpoint: where the server is.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._pool = ThreadPoolExecutor(MAX_IN_FLIGHT, thread_name_prefix="http")
        self._local = threading.local()

    def body(self, model: Model, images: NDArray[np.uint8], slot: None) -> tuple[str, bytes, dict[str, str]]:  # noqa: ARG002  as GrpcTransport's
        """Path, content and headers of a request."""
        tensor = httpclient.InferInput(INPUT[0], list(images.shape), INPUT[1])
        tensor.set_data_from_numpy(images)
        outputs = [httpclient.InferRequestedOutput(OUTPUT[0], binary_data=True)]
        content, length = httpclient.InferenceServerClient.generate_request_body([tensor], outputs=outputs)
        path = f"/v2/models/{model.name}/versions/{model.version}/infer"
        return path, bytes(content), {_LENGTH: str(length), **dict(self._endpoint.headers)}

    def send(self, body: tuple[str, bytes, dict[str, str]], done: Callable[[Any, ClientError | None], None]) -> None:
        """Send a request; `done` gets (content, headers) or the error, on one of the threads."""
        self._pool.submit(self._exchange, body, done)

    def logits(self, response: Any, images: int, slot: None) -> NDArray[np.float32]:  # noqa: ARG002
        """The answer, FP32 [images, 10].

        Raises:
            RequestFailedError: it has another shape.
        """
        content, headers = response
        length = headers.get(_LENGTH)
        result = httpclient.InferenceServerClient.parse_response_body(content, header_length=length and int(length))
        logits: NDArray[np.float32] | None = result.as_numpy(OUTPUT[0])
        expected = (images, len(CLASS_NAMES))
        if logits is None or logits.shape != expected:
            raise RequestFailedError(
                f"expected logits of shape {expected}, found {logits if logits is None else logits.shape}"
            )
        return logits

    def check(self, response: Any, images: int, *, in_slot: bool) -> None:  # noqa: ARG002
        """See that the answer has the size it should have; cheaper than `logits`.

        Raises:
            RequestFailedError: it has not.
        """
        content, headers = response
        size = len(content) - int(headers.get(_LENGTH, len(content)))
        if size != 4 * images * len(CLASS_NAMES):
            raise RequestFailedError(f"expected {4 * images * len(CLASS_NAMES)} bytes of logits, found {size}")

    def close(self) -> None:
        """Let the threads go."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _exchange(
        self, body: tuple[str, bytes, dict[str, str]], done: Callable[[Any, ClientError | None], None]
    ) -> None:
        path, content, headers = body
        connection = self._connection()
        try:
            connection.request("POST", path, content, headers)
            answer = connection.getresponse()
            received = answer.read()
        except TimeoutError:
            connection.close()
            done(None, explain.timed_out(self._endpoint))
            return
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            done(None, explain.unreachable(self._endpoint, error or type(error).__name__))
            return
        if answer.status == http.HTTPStatus.OK:
            done((received, answer.headers), None)
        else:
            done(None, explain.explained(self._endpoint, str(answer.status), _message(received)))

    def _connection(self) -> http.client.HTTPConnection:
        """This thread's; it reconnects by itself after it was closed."""
        if not hasattr(self._local, "connection"):
            host, _, port = self._endpoint.url.rpartition(":")
            arguments: dict[str, Any] = {"port": int(port), "timeout": self._endpoint.timeout}
            host = host.strip("[]")
            tls = self._endpoint.tls
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
        return content.decode(errors="replace")
