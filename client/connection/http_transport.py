"""Inference over HTTP/1.1 with the binary tensor extension: a thread and a connection for every request in flight."""

from __future__ import annotations

import http
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import tritonclient.http as httpclient

from cifar10 import CLASS_NAMES
from client.connection import explain
from client.connection.endpoint import Endpoint
from client.connection.http_control import LENGTH, said
from client.connection.http_exchange import HttpConnection, failure, quoted
from client.connection.model import INPUT, OUTPUT, Model
from client.errors import ClientError, RequestFailedError, WrongShapeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_IN_FLIGHT = 256
"""Threads; in an open loop further requests wait here, and their wait counts as latency."""


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
        path = f"/v2/models/{quoted(model.name)}/versions/{model.version}/infer"
        return path, bytes(content), {LENGTH: str(length), **dict(self._endpoint.headers)}

    def send(self, body: tuple[str, bytes, dict[str, str]], done: Callable[[Any, ClientError | None], None]) -> None:
        """Send a request; `done` gets (content, headers) or the error, on one of the threads."""
        self._pool.submit(self._exchange, body, done)

    def logits(self, response: Any, images: int, slot: None) -> NDArray[np.float32]:  # noqa: ARG002
        """The answer, FP32 [images, 10].

        Raises:
            WrongShapeError: it has another shape.
        """
        content, headers = response
        length = headers.get(LENGTH)
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
        length = headers.get(LENGTH, "")
        size = len(content) - int(length) if length.isdigit() else 0
        if size != 4 * images * len(CLASS_NAMES):
            raise WrongShapeError(f"expected {4 * images * len(CLASS_NAMES)} bytes of logits, found {size}")

    def version(self, response: Any) -> str:
        """Of the model that answered; empty where the response does not say."""
        content, headers = response
        try:
            return str(json.loads(content[: int(headers.get(LENGTH))]).get("model_version", ""))
        except (ValueError, TypeError, AttributeError):
            return ""

    def close(self) -> None:
        """Let the threads go."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _exchange(
        self, body: tuple[str, bytes, dict[str, str]], done: Callable[[Any, ClientError | None], None]
    ) -> None:
        try:
            reply = self._connection().exchange("POST", *body)
        except Exception as error:  # noqa: BLE001  raised here, it would leave the request without an answer
            done(None, failure(self._endpoint, error))
            return
        if reply.status == http.HTTPStatus.OK:
            done((reply.content, reply.headers), None)
        else:
            done(None, explain.explained(self._endpoint, str(reply.status), said(reply)))

    def _connection(self) -> HttpConnection:
        """This thread's."""
        if not hasattr(self._local, "connection"):
            self._local.connection = HttpConnection(self._endpoint)
        connection: HttpConnection = self._local.connection
        return connection
