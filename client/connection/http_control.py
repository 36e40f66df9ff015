"""Questions to a server over HTTP, with the names, arguments and protobuf answers of tritonclient's for gRPC.

Not tritonclient's own for HTTP: its deadline is gevent's, which comes only in a moment without a byte and never under
TLS, its answers have no limit, and whatever is JSON it takes for what was asked for.
"""

from __future__ import annotations

import http
import json
from collections.abc import Callable, Mapping
from typing import Any

import tritonclient.http as httpclient
from google.protobuf import json_format
from google.protobuf.message import Message
from tritonclient.grpc import model_config_pb2, service_pb2

from client.connection import explain
from client.connection.endpoint import Endpoint
from client.connection.http_exchange import HttpConnection, Reply, failure, quoted

LENGTH = "Inference-Header-Content-Length"

_NOT_READY = (http.HTTPStatus.BAD_REQUEST, http.HTTPStatus.SERVICE_UNAVAILABLE)
"""With which Triton says that it is not: the one of old, the other since 24.11."""


class HttpControl:
    """A connection for each question: between two of them minutes may pass, in which a gateway would close it.

    Args:
        endpoint: where the server is.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def is_server_ready(self) -> bool:
        """Whether it says so; with a model that failed to load it is not, where its readiness is strict."""
        return self._healthy("v2/health/ready")

    def is_server_live(self) -> bool:
        """Whether it says so."""
        return self._healthy("v2/health/live")

    def get_server_metadata(self) -> Any:
        """`ServerMetadataResponse`."""
        return self._message("v2", service_pb2.ServerMetadataResponse(), "name", "version")

    def get_model_metadata(self, name: str, version: str = "") -> Any:
        """`ModelMetadataResponse`."""
        return self._message(_model(name, version), service_pb2.ModelMetadataResponse(), "name")

    def get_model_config(self, name: str, version: str = "") -> Any:
        """`ModelConfigResponse`; over HTTP the configuration comes without what is around it."""
        config = self._message(f"{_model(name, version)}/config", model_config_pb2.ModelConfig(), "name")
        return service_pb2.ModelConfigResponse(config=config)

    def get_inference_statistics(self) -> Any:
        """`ModelStatisticsResponse`."""
        return self._message("v2/models/stats", service_pb2.ModelStatisticsResponse(), "model_stats")

    def get_model_repository_index(self) -> Any:
        """`RepositoryIndexResponse`; over HTTP the list comes without what is around it."""
        path, answer = "v2/repository/index", service_pb2.RepositoryIndexResponse()
        return self._parsed(path, self._asked(path, b"").content, answer, "models", around=lambda it: {"models": it})

    def load_model(self, name: str) -> None:
        """Returns when it is ready."""
        self._asked(f"v2/repository/models/{quoted(name)}/load", b"{}")

    def unload_model(self, name: str) -> None:
        """Returns when it is asked for."""
        self._asked(f"v2/repository/models/{quoted(name)}/unload", b'{"parameters":{"unload_dependents":false}}')

    def infer(self, name: str, inputs: list[Any], model_version: str = "", outputs: list[Any] | None = None) -> Any:
        """`InferResult`, of inputs and outputs as tritonclient has them for HTTP."""
        content, length = httpclient.InferenceServerClient.generate_request_body(inputs, outputs=outputs)
        path = f"{_model(name, model_version)}/infer"
        reply = self._asked(path, bytes(content), {LENGTH: str(length)})
        try:
            own = int(reply.headers.get(LENGTH, len(reply.content)))
            return httpclient.InferenceServerClient.parse_response_body(reply.content, header_length=own)
        except Exception as error:  # noqa: BLE001  whatever the parser of JSON raises on what is none
            raise explain.not_triton(self._endpoint, _unlike(path, "an inference's answer", str(error))) from None

    def close(self) -> None:
        """Nothing is kept open."""

    def _healthy(self, path: str) -> bool:
        reply = self._reply(path, None, {})
        if reply.status not in (http.HTTPStatus.OK, *_NOT_READY):
            raise explain.explained(self._endpoint, str(reply.status), said(reply))
        return reply.status == http.HTTPStatus.OK

    def _message(self, path: str, answer: Message, *needed: str) -> Message:
        return self._parsed(path, self._asked(path).content, answer, *needed)

    def _parsed(
        self, path: str, content: bytes, answer: Message, *needed: str, around: Callable[[Any], Any] = lambda it: it
    ) -> Message:
        """Read JSON into a message.

        Args:
            path: what was asked.
            content: what came.
            answer: what to fill.
            needed: fields that the JSON must have, with something in them unless they are lists.
            around: makes the JSON that the message has of the one that came.
        """
        try:
            found = around(json.loads(content))
            json_format.ParseDict(found, answer, ignore_unknown_fields=True)  # a newer Triton says more
            whole = _has_shape(found, answer.DESCRIPTOR) and all(
                found[name] is not None and _is_said(answer, name) for name in needed
            )
        except Exception:  # noqa: BLE001  both raise more than they say, on JSON that is deep, long or not of the shape
            whole = False
        if not whole:
            expected = f"the JSON of {answer.DESCRIPTOR.name} with {' and '.join(needed)}"
            words = explain.one_line(content[:1000].decode(errors="backslashreplace"), 80)
            raise explain.not_triton(self._endpoint, _unlike(path, expected, words or "nothing"))
        return answer

    def _asked(self, path: str, content: bytes | None = None, headers: Mapping[str, str] | None = None) -> Reply:
        reply = self._reply(path, content, headers or {})
        if reply.status != http.HTTPStatus.OK:
            raise explain.explained(self._endpoint, str(reply.status), said(reply))
        return reply

    def _reply(self, path: str, content: bytes | None, headers: Mapping[str, str]) -> Reply:
        connection = HttpConnection(self._endpoint)
        method = "GET" if content is None else "POST"
        try:
            return connection.exchange(method, f"/{path}", content, {**headers, **dict(self._endpoint.headers)})
        except Exception as error:  # noqa: BLE001  whatever the parser of HTTP raises on what is none
            raise failure(self._endpoint, error) from None
        finally:
            connection.close()


def said(reply: Reply) -> str:
    """A server's words in an error; Triton's are JSON, and what is not says nothing to whoever asked Triton."""
    try:
        words = json.loads(reply.content)["error"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return words if isinstance(words, str) else ""


def _model(name: str, version: str) -> str:
    return f"v2/models/{quoted(name)}" + (f"/versions/{quoted(version)}" if version else "")


def _has_shape(found: Any, descriptor: Any) -> bool:
    """Whether what stands for a message is an object; the parser takes a text's characters for unknown fields."""
    if not isinstance(found, dict):
        return False
    for field in descriptor.fields:
        value, kind = found.get(field.name), field.message_type
        if value is None or kind is None or kind.GetOptions().map_entry:
            continue
        if not all(_has_shape(entry, kind) for entry in (value if isinstance(value, list) else [value])):
            return False
    return True


def _is_said(answer: Message, field: str) -> bool:
    """Whether a field holds something; of a list, whether each of its entries has a name."""
    value = getattr(answer, field)
    return bool(value) if isinstance(value, str) else all(entry.name for entry in value)


def _unlike(path: str, expected: str, found: str) -> str:
    return f"asked for /{path}, expected {expected}, found {explain.one_line(found)}"
