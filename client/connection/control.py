"""What a Triton server says of itself: ready, models, configuration, statistics; over gRPC or HTTP."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
from tritonclient.utils import InferenceServerException

from cifar10 import CLASS_NAMES, IMAGE_SHAPE
from client.connection import explain
from client.connection.endpoint import Endpoint, Transport
from client.connection.model import INPUT, OUTPUT, Model, check_tensors, check_version, in_order, readiness
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
        self.is_http = self._http = endpoint.transport is Transport.HTTP
        self._client = _http_client(endpoint) if self._http else _grpc_client(endpoint)
        self._headers = dict(endpoint.headers) or None
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
            metadata = self._asked("get_server_metadata")
        except RequestTimedOutError:
            raise
        except RequestFailedError as error:
            raise explain.not_triton(self.endpoint, f"it answers /v2 with an error: {error}") from None
        if not (isinstance(metadata, dict) and {"name", "version"} <= set(metadata)):
            raise explain.not_triton(self.endpoint, "its answer to /v2 has no name and version of a server")

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def server(self) -> dict[str, str]:
        """The server's name, version and address."""
        metadata = self._asked("get_server_metadata")
        return {"name": metadata["name"], "version": metadata["version"], "url": self.endpoint.url}

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
        if version:
            check_version(name, version, self.ready_versions)
        try:
            metadata = self._asked("get_model_metadata", name, version)
        except RequestFailedError as error:
            raise self._not_served(name, version, error) from None
        check_tensors(name, metadata)
        version = version or "".join(in_order(metadata.get("versions", ()))[-1:])
        config = self._asked("get_model_config", name, version)
        config = config.get("config", config)
        return Model(
            name,
            version,
            metadata.get("platform", ""),
            int(config.get("max_batch_size", 0)),
            triton_configuration.summary(config),
            self.ready_versions(name),
            label,
        )

    def configured_sizes(self, model: Model) -> set[int]:
        """Batch sizes that a model's configuration names: of its warm-up, its CUDA graphs, its dynamic batching."""
        config = self._asked("get_model_config", model.name, model.version)
        config = config.get("config", config)
        graphs = config.get("optimization", {}).get("cuda", {}).get("graph_spec", [])
        entries = [*config.get("model_warmup", []), *graphs]
        preferred = config.get("dynamic_batching", {}).get("preferred_batch_size", [])
        return {int(size) for size in (*(entry.get("batch_size", 0) for entry in entries), *preferred)}

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
        if not self._http:
            options["client_timeout"] = self.endpoint.timeout
        try:
            with _http_deadline(self.endpoint.timeout) if self._http else contextlib.nullcontext():
                return getattr(self._client, function)(*args, headers=self._headers, **options)
        except InferenceServerException as error:
            raise explain.explained(self.endpoint, str(error.status()), str(error.message())) from None
        except TimeoutError:
            raise explain.timed_out(self.endpoint) from None
        except OSError as error:  # HTTP: connection refused, reset
            raise explain.unreachable(self.endpoint, error) from None
        except ClientError:
            raise
        except Exception as error:  # noqa: BLE001  HTTP: whatever the parsers of HTTP and JSON raise on what is neither
            raise explain.not_triton(self.endpoint, f"{type(error).__name__}: {explain.one_line(str(error))}") from None

    def _asked(self, function: str, *args: Any) -> Any:
        return self.call(function, *args) if self._http else self.call(function, *args, as_json=True)

    def _index(self, *, ready: bool = False) -> set[tuple[str, str]]:
        """(name, version) of all models that the server knows, or of those that can answer."""
        index = self._asked("get_model_repository_index")
        entries = index if isinstance(index, list) else index.get("models", [])
        return {
            (str(entry["name"]), str(entry.get("version", "")))
            for entry in entries
            if not ready or entry.get("state") == "READY"
        }

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
            return bool(self._asked("get_model_metadata", name))
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
        if self._http and quote(name) != name and self._knows(name):
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


def _http_deadline(seconds: float) -> Any:
    """For all of an exchange; the connection's own timeout begins again with every byte that comes.

    It needs a moment in which nothing has come: gevent looks at its clock only then.
    """
    import gevent

    return gevent.Timeout(seconds, TimeoutError)


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
