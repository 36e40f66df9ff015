"""One connection to a Triton server: is it ready, what does the model want, and an answer to a batch of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import tritonclient.grpc as grpcclient
from tritonclient.utils import InferenceServerException

from cifar10 import CLASS_NAMES, IMAGE_SHAPE
from client.errors import ClientError, RequestFailedError, RequestRejectedError, ServerUnreachableError

if TYPE_CHECKING:
    from numpy.typing import NDArray

INPUT = ("images", "UINT8", [-1, *IMAGE_SHAPE])
OUTPUT = ("logits", "FP32", [-1, len(CLASS_NAMES)])
"""Name, data type and shape of the tensors that this project's models have."""


@dataclass(frozen=True)
class Model:
    """A model as the server describes it.

    Attributes:
        name: its name.
        version: the version that answers.
        platform: its engine, as in "onnxruntime_onnx".
        max_batch_size: images a request may hold.
    """

    name: str
    version: str
    platform: str
    max_batch_size: int


@dataclass(frozen=True)
class Request:
    """A request whose bytes are prepared, to be sent any number of times.

    Attributes:
        inputs: what tritonclient sends.
        images: how many.
    """

    inputs: list[Any]
    images: int


class Triton:
    """A gRPC connection. Threads may share it.

    Args:
        url: HOST:PORT of the server's gRPC service.
        timeout: seconds for one request.

    Raises:
        ClientError: the address is malformed.
        ServerUnreachableError: no server answers, or it is not ready.
    """

    def __init__(self, url: str, timeout: float) -> None:
        if "://" in url or ":" not in url:
            raise ClientError(
                f"the server's address must be HOST:PORT; found '{url}'", "as in --url 127.0.0.1:8001 (the gRPC port)"
            )
        self.url = url
        self._timeout = timeout
        self._client = grpcclient.InferenceServerClient(url, channel_args=_channel_options(url))
        self._output = [grpcclient.InferRequestedOutput(OUTPUT[0])]
        if not self._call(self._client.is_server_ready):
            raise ServerUnreachableError(
                f"the server at {url} is not ready: a model failed to load or is still loading", "see the server's log"
            )

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def server(self) -> dict[str, str]:
        """The server's name and version."""
        metadata = self._call(self._client.get_server_metadata)
        return {"name": metadata.name, "version": metadata.version, "url": self.url}

    def model(self, name: str, version: str = "") -> Model:
        """Look a model up and check that it takes raw CIFAR-10 images.

        Args:
            name: the model.
            version: which; empty for the newest that is served.

        Raises:
            ClientError: no such model or version, or its tensors are others than this project's.
        """
        if version and not version.isdigit():
            raise ClientError(f"--version must be a whole number; found '{version}'")
        try:
            metadata = self._call(self._client.get_model_metadata, name, version)
        except RequestFailedError as error:
            raise ClientError(f"the server at {self.url} does not serve it: {error}", self._served()) from None
        for tensors, expected in ((metadata.inputs, INPUT), (metadata.outputs, OUTPUT)):
            found = [(tensor.name, tensor.datatype, list(tensor.shape)) for tensor in tensors]
            if found != [expected]:
                raise ClientError(
                    f"model '{name}' is not one of this project's: expected {_described([expected])}, "
                    f"found {_described(found)}"
                )
        config = self._call(self._client.get_model_config, name, version).config
        newest = max(metadata.versions, key=int)
        return Model(name, version or newest, metadata.platform, config.max_batch_size)

    def request(self, images: NDArray[np.uint8]) -> Request:
        """Prepare a request of UINT8 [N, 32, 32, 3]."""
        tensor = grpcclient.InferInput(INPUT[0], list(images.shape), INPUT[1])
        tensor.set_data_from_numpy(images)
        return Request([tensor], len(images))

    def infer(self, model: Model, request: Request) -> NDArray[np.float32]:
        """Send a request and return its logits, FP32 [N, 10].

        Raises:
            RequestRejectedError: the queue is full.
            RequestFailedError: the server answered with an error, not in time, or with another shape.
            ServerUnreachableError: the server is gone.
        """
        result = self._call(
            self._client.infer,
            model.name,
            request.inputs,
            model_version=model.version,
            outputs=self._output,
            client_timeout=self._timeout,
        )
        logits: NDArray[np.float32] | None = result.as_numpy(OUTPUT[0])
        if logits is None or logits.shape != (request.images, len(CLASS_NAMES)):
            found = "none" if logits is None else logits.shape
            raise RequestFailedError(f"expected logits of shape {(request.images, len(CLASS_NAMES))}, found {found}")
        return logits

    def _served(self) -> str:
        try:
            models = self._call(self._client.get_model_repository_index).models
        except ClientError:
            return "is --model spelt right, and was it built? (make build-repo)"
        ready = sorted({model.name for model in models if model.state == "READY"})
        return f"it serves: {', '.join(ready) or 'nothing'}"

    def _call(self, function: Any, *args: Any, **options: Any) -> Any:
        """Call tritonclient and turn its one exception into what happened."""
        try:
            return function(*args, **options)
        except InferenceServerException as error:
            raise self._explained(error) from None

    def _explained(self, error: InferenceServerException) -> ClientError:
        message = str(error.message()).strip()
        status = str(error.status()).removeprefix("StatusCode.")
        if "exceeds maximum queue size" in message.lower():
            return RequestRejectedError(f"the server's queue is full: {message}", "lower --concurrency")
        if status == "DEADLINE_EXCEEDED":
            return RequestFailedError(f"no answer within {self._timeout:g} s", "give it longer: --timeout SECONDS")
        if status in ("UNAVAILABLE", "CANCELLED"):
            return ServerUnreachableError(
                f"no Triton answers at {self.url} ({message})", "start one: make serve-local, or make serve"
            )
        return RequestFailedError(message)


def _channel_options(url: str) -> list[tuple[str, int]]:
    """What tritonclient sets, and no proxy on the way to this machine: gRPC would take https_proxy even there."""
    options = [
        ("grpc.max_send_message_length", grpcclient.MAX_GRPC_MESSAGE_SIZE),
        ("grpc.max_receive_message_length", grpcclient.MAX_GRPC_MESSAGE_SIZE),
    ]
    local = url.rpartition(":")[0].strip("[]") in ("localhost", "::1") or url.startswith("127.")
    return [*options, ("grpc.enable_http_proxy", 0)] if local else options


def _described(tensors: list[tuple[str, str, list[int]]]) -> str:
    return ", ".join(f"{name} {dtype} {shape}" for name, dtype, shape in tensors)
