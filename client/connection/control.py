"""What a Triton server says of itself: ready, models, configuration, statistics; over gRPC or HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from tritonclient.utils import InferenceServerException

from cifar10 import CLASS_NAMES, IMAGE_SHAPE
from client.connection import explain
from client.connection.endpoint import Endpoint, Transport
from client.errors import ClientError, RequestFailedError, ServerUnreachableError

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


class Control:
    """Questions to a server, one thread at a time.

    Args:
        endpoint: where it is.

    Raises:
        ServerUnreachableError: no server answers, or it is not ready.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._http = endpoint.transport is Transport.HTTP
        self._client = _http_client(endpoint) if self._http else _grpc_client(endpoint)
        self._headers = dict(endpoint.headers) or None
        if not self.call("is_server_ready"):
            raise ServerUnreachableError(
                f"the server at {endpoint.url} is not ready: a model failed to load or is still loading",
                "see the server's log",
            )

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def server(self) -> dict[str, str]:
        """The server's name, version and address."""
        metadata = self._asked("get_server_metadata")
        return {"name": metadata["name"], "version": metadata["version"], "url": self.endpoint.url}

    def ready_models(self) -> list[str]:
        """Names of the models that can answer, sorted."""
        index = self._asked("get_model_repository_index")
        entries = index if isinstance(index, list) else index.get("models", [])
        return sorted({entry["name"] for entry in entries if entry.get("state") == "READY"})

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
            metadata = self._asked("get_model_metadata", name, version)
        except RequestFailedError as error:
            raise ClientError(f"the server at {self.endpoint.url} does not serve it: {error}", self._served()) from None
        for tensors, expected in ((metadata["inputs"], INPUT), (metadata["outputs"], OUTPUT)):
            found = [(tensor["name"], tensor["datatype"], [int(n) for n in tensor["shape"]]) for tensor in tensors]
            if found != [expected]:
                raise ClientError(
                    f"model '{name}' is not one of this project's: expected {_described([expected])}, "
                    f"found {_described(found)}"
                )
        config = self._asked("get_model_config", name, version)
        config = config.get("config", config)
        newest = max(metadata["versions"], key=int)
        return Model(name, version or newest, metadata.get("platform", ""), int(config.get("max_batch_size", 0)))

    def statistics(self) -> list[dict[str, Any]]:
        """Triton's counters of all models since it started, one entry a model version."""
        return list(self._asked("get_inference_statistics").get("model_stats", []))

    def class_names(self, model: Model, image: NDArray[np.uint8]) -> dict[int, str]:
        """Class names by index, as the classification extension gives them for an image UINT8 [32, 32, 3].

        Raises:
            RequestFailedError: the server has no labels for the model.
        """
        import tritonclient.grpc as grpcclient
        import tritonclient.http as httpclient

        library = httpclient if self._http else grpcclient
        tensor = library.InferInput(INPUT[0], [1, *IMAGE_SHAPE], INPUT[1])
        tensor.set_data_from_numpy(image[None])
        asked = [library.InferRequestedOutput(OUTPUT[0], class_count=len(CLASS_NAMES))]
        result = self.call("infer", model.name, [tensor], model_version=model.version, outputs=asked)
        names = {}
        for entry in result.as_numpy(OUTPUT[0]).reshape(-1):
            _, index, *label = entry.decode().split(":", 2)  # VALUE:INDEX[:LABEL]
            names[int(index)] = label[0] if label else ""
        return names

    def call(self, function: str, *args: Any, **options: Any) -> Any:
        """Call a function of tritonclient's client, and turn what it raises into what happened.

        Raises:
            ClientError: as `explain.explained` says.
        """
        try:
            return getattr(self._client, function)(*args, headers=self._headers, **options)
        except InferenceServerException as error:
            raise explain.explained(self.endpoint, str(error.status()), str(error.message())) from None
        except TimeoutError:
            raise explain.timed_out(self.endpoint) from None
        except OSError as error:  # HTTP: connection refused, reset
            raise explain.unreachable(self.endpoint, error) from None

    def _asked(self, function: str, *args: Any) -> Any:
        return self.call(function, *args) if self._http else self.call(function, *args, as_json=True)

    def _served(self) -> str:
        try:
            return f"it serves: {', '.join(self.ready_models()) or 'nothing'}"
        except ClientError:
            return "is --model spelt right, and was it built? (make build-repo)"


def channel_options(endpoint: Endpoint) -> list[tuple[str, int]]:
    """What tritonclient sets, and no proxy on the way to this machine: gRPC would take https_proxy even there."""
    largest = 2**31 - 1
    options = [("grpc.max_send_message_length", largest), ("grpc.max_receive_message_length", largest)]
    return [*options, ("grpc.enable_http_proxy", 0)] if endpoint.is_local else options


def _grpc_client(endpoint: Endpoint) -> Any:
    import tritonclient.grpc as grpcclient

    tls = endpoint.tls
    files = (tls.ca, tls.key, tls.certificate) if tls else (None, None, None)
    root, key, chain = (str(file) if file else None for file in files)
    return grpcclient.InferenceServerClient(
        endpoint.url,
        ssl=tls is not None,
        root_certificates=root,
        private_key=key,
        certificate_chain=chain,
        channel_args=channel_options(endpoint),
    )


def _http_client(endpoint: Endpoint) -> Any:
    import tritonclient.http as httpclient

    tls = endpoint.tls
    return httpclient.InferenceServerClient(
        endpoint.url,
        connection_timeout=endpoint.timeout,
        network_timeout=endpoint.timeout,
        ssl=tls is not None,
        ssl_context_factory=tls.context if tls else None,
    )


def _described(tensors: list[tuple[str, str, list[int]]]) -> str:
    return ", ".join(f"{name} {dtype} {shape}" for name, dtype, shape in tensors)
