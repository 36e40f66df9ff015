"""What a Triton server says of itself: ready, models, configuration, statistics; over gRPC or HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from google.protobuf import json_format
from tritonclient.utils import InferenceServerException

from cifar10 import CLASS_NAMES, IMAGE_SHAPE
from client.connection import explain
from client.connection.endpoint import Endpoint, Transport
from client.connection.http_exchange import quoted
from client.connection.model import INPUT, OUTPUT, Model, check_name, check_tensors, check_version, in_order, readiness
from client.errors import ClientError, RequestFailedError, RequestTimedOutError, ServerUnreachableError
from console import triton_configuration

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Control:
    """Questions to a server, one thread at a time.

    Args:
        endpoint: where it is.
        ready: it must be ready; a server whose model failed to load is not, by Triton's strict readiness.

    Raises:
        ServerUnreachableError: no server answers, or it is not ready.
    """

    def __init__(self, endpoint: Endpoint, *, ready: bool = True) -> None:
        self.endpoint = endpoint
        self._http = endpoint.transport is Transport.HTTP
        self._client = _http_client(endpoint) if self._http else _grpc_client(endpoint)
        self._options: dict[str, Any] = {}  # of every call; HTTP's client knows them from the endpoint
        if not self._http:
            self._options = {"client_timeout": endpoint.timeout, "headers": dict(endpoint.headers) or None}
        if self._http:
            self._check_it_is_triton()
        if not self.call("is_server_ready" if ready else "is_server_live"):
            raise ServerUnreachableError(
                f"the server at {endpoint.url} is not ready: a model failed to load or is still loading",
                "see the server's log",
            )

    def _check_it_is_triton(self) -> None:
        """Over HTTP anything may answer 200, or say "not ready" with any other status."""
        try:
            self.call("get_server_metadata")
        except RequestTimedOutError:
            raise
        except RequestFailedError as error:
            raise explain.not_triton(self.endpoint, f"it answers /v2 with an error: {error}") from None

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def server(self) -> dict[str, str]:
        """The server's name, version and address."""
        metadata = self.call("get_server_metadata")
        return {"name": metadata.name, "version": metadata.version, "url": self.endpoint.url}

    def ready_models(self) -> list[str]:
        """Names of the models that can answer, sorted."""
        return sorted({name for name, _ in self._index(ready=True)})

    def ready_versions(self, name: str) -> tuple[str, ...]:
        """Versions of a model that can answer, ascending; none where the server keeps its index for others."""
        return in_order(version for entry, version in self._index_or_nothing(ready=True) if entry == name)

    def named(self, text: str) -> Model:
        """The model that NAME or NAME:N means; one that is called so, colon and all, goes first.

        Raises:
            ClientError: as `model`.
        """
        check_name(text)
        name, _, version = text.rpartition(":")
        if not name or self._knows(text) or not self._knows(name):
            return self.model(text)
        check_version(name, version, self.ready_versions)
        return self.model(name, version, label=text)

    def model(self, name: str, version: str = "", *, label: str = "") -> Model:
        """Look a model up and check that it takes raw CIFAR-10 images.

        Args:
            name: the model.
            version: which; empty for the newest that is served.
            label: see `Model`.

        Raises:
            ClientError: no such model or version, or its tensors are others than this project's.
        """
        check_name(name)
        if version:
            check_version(name, version, self.ready_versions)
        try:
            metadata = self.call("get_model_metadata", name, version)
        except RequestTimedOutError:
            raise
        except RequestFailedError as error:
            raise self._not_served(name, version, error) from None
        check_tensors(name, metadata)
        version = version or "".join(in_order(metadata.versions)[-1:])
        config = self.call("get_model_config", name, version).config
        return Model(
            name,
            version,
            metadata.platform,
            config.max_batch_size,
            triton_configuration.summary(_as_json(config)),
            self.ready_versions(name),
            label,
        )

    def configured_sizes(self, model: Model) -> set[int]:
        """Batch sizes that a model's configuration names: of its warm-up, its CUDA graphs, its dynamic batching."""
        config = self.call("get_model_config", model.name, model.version).config
        entries = [*config.model_warmup, *config.optimization.cuda.graph_spec]
        return {*(entry.batch_size for entry in entries), *config.dynamic_batching.preferred_batch_size}

    def statistics(self) -> list[dict[str, Any]]:
        """Triton's counters of all models since it started, one entry a model version."""
        return [_as_json(entry) for entry in self.call("get_inference_statistics").model_stats]

    def class_names(self, model: Model, image: NDArray[np.uint8]) -> dict[int, str]:
        """Class names by index, as the classification extension gives them for an image UINT8 [32, 32, 3].

        Bytes that are not UTF-8 stay in them as Python's surrogate escapes.

        Raises:
            RequestFailedError: the server refuses, or gives no classes.
        """
        import tritonclient.grpc as grpcclient
        import tritonclient.http as httpclient

        library = httpclient if self._http else grpcclient
        tensor = library.InferInput(INPUT[0], [1, *IMAGE_SHAPE], INPUT[1])
        tensor.set_data_from_numpy(image[None])
        asked = [library.InferRequestedOutput(OUTPUT[0], class_count=len(CLASS_NAMES))]
        result = self.call("infer", model.name, [tensor], model_version=model.version, outputs=asked)
        names, entry = {}, None
        try:
            for entry in result.as_numpy(OUTPUT[0]).reshape(-1):
                _, index, *label = entry.decode(errors="surrogateescape").split(":", 2)
                names[int(index)] = label[0] if label else ""
        except Exception as error:  # noqa: BLE001  tritonclient's parser raises what it meets
            found = repr(entry) if entry is not None else explain.one_line(str(error))
            raise RequestFailedError(
                f"the classes of model '{model.label}' cannot be read: expected VALUE:INDEX[:LABEL], found {found}",
                "does a gateway or another server than Triton answer?",
            ) from None
        return names

    def call(self, function: str, *args: Any, **options: Any) -> Any:
        """Call a function of tritonclient's gRPC client, or the one of that name over HTTP; its answer is a message.

        Raises:
            ClientError: as `explain.explained` says.
        """
        try:
            return getattr(self._client, function)(*args, **self._options, **options)
        except InferenceServerException as error:
            raise explain.explained(self.endpoint, str(error.status()), str(error.message())) from None

    def _index(self, *, ready: bool = False) -> set[tuple[str, str]]:
        """(name, version) of all models that the server knows, or of those that can answer."""
        entries = self.call("get_model_repository_index").models
        return {(entry.name, entry.version) for entry in entries if not ready or entry.state == "READY"}

    def _index_or_nothing(self, *, ready: bool = False) -> set[tuple[str, str]]:
        """The same; empty where the server refuses it, as one that restricts its repository API does."""
        try:
            return self._index(ready=ready)
        except RequestTimedOutError:
            raise
        except ClientError:  # where the server has gone, the next question says so
            return set()

    def _knows(self, name: str) -> bool:
        """Whether the server has a model of this name, ready or not."""
        if known := self._index_or_nothing():
            return name in {entry for entry, _ in known}
        try:
            return bool(self.call("get_model_metadata", name))
        except RequestTimedOutError:
            raise
        except RequestFailedError:
            return False

    def _not_served(self, name: str, version: str, error: ClientError) -> ClientError:
        """What to say of a model without an answer; of a single version, which others there are."""
        if version and (versions := self.ready_versions(name)):
            return ClientError(
                f"version {version} of model '{name}' is not ready at {self.endpoint.url}, but "
                f"{readiness(versions)}: {error}",
                f"--model {name}:{versions[-1]}",
            )
        hint = self._served()
        if self._http and quoted(name) != name and self._knows(name):
            hint = "Triton's HTTP service does not find names that HTTP has to quote: --transport grpc"
        return ClientError(f"the server at {self.endpoint.url} does not serve it: {error}", hint)

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
    from client.connection.http_control import HttpControl

    return HttpControl(endpoint)


def _as_json(message: Any) -> dict[str, Any]:
    """With Triton's own names; numbers of 64 bits are text, and what has its default is left out."""
    return dict(json_format.MessageToDict(message, preserving_proto_field_name=True))
