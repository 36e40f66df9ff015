"""What the running Triton says about itself and its models, over HTTP, and loading a model anew, over gRPC.

In a URL, Triton takes a model's name as it stands there: names with a space or an umlaut have no URL.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from server.triton.log import first_line
from server.triton.ports import Ports, address

_TIMEOUT = 2.0  # seconds; these requests are answered at once, or the server is still starting
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  of what listens everywhere; compared, not bound
_NO_PROXY = [("grpc.enable_http_proxy", 0)]
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy has no business on this machine


@dataclass(frozen=True)
class ModelState:
    """What Triton says of a model.

    Attributes:
        ready: one of its versions is ready.
        reason: why a version is not; empty where Triton gives none.
    """

    ready: bool
    reason: str


class Frontend:
    """Triton's HTTP front end.

    Args:
        ports: where it listens.
    """

    def __init__(self, ports: Ports) -> None:
        host = _LOOPBACK.get(ports.host, ports.host)
        self._grpc = address(host, ports.grpc)
        self._url = f"http://{address(host, ports.http)}"

    def live(self) -> bool:
        """Whether it answers at all; it does so once all the models are loaded or refused."""
        return self._ask("/v2/health/live") is not None

    def states(self) -> dict[str, ModelState] | None:
        """Model name -> its state, for all that Triton was asked to load; None where it does not answer."""
        answer = self._ask("/v2/repository/index", b"{}")
        if answer is None:
            return None
        entries: list[dict[str, str]] = json.loads(answer.decode(errors="replace"))
        known = [entry for entry in entries if "state" in entry]
        return {
            name: ModelState(
                any(entry["state"] == "READY" for entry in known if entry["name"] == name),
                next((entry["reason"] for entry in known if entry["name"] == name and entry.get("reason")), ""),
            )
            for name in {entry["name"] for entry in known}
        }

    def ready_versions(self) -> dict[str, set[str]] | None:
        """Model name -> its versions that are ready; those models included whose files came over the network.

        None where Triton does not answer.
        """
        answer = self._ask("/v2/models/stats")
        if answer is None:
            return None
        found: dict[str, set[str]] = {}
        for entry in json.loads(answer)["model_stats"]:
            found.setdefault(entry["name"], set()).add(entry["version"])
        return found

    def loaded(self, model: str, versions: Sequence[str]) -> str:
        """The configuration that a model is served with, as JSON, held to its versions; empty where Triton says none.

        Args:
            model: its name.
            versions: those that are ready.
        """
        found = {}

        def call(client: Any) -> None:
            found.update(client.get_model_config(model, versions[0], as_json=True, client_timeout=_TIMEOUT)["config"])
            found["version_policy"] = {"specific": {"versions": [int(version) for version in versions]}}

        return "" if self._call(call) else json.dumps(found)

    def reload(self, model: str, timeout: float) -> str:
        """Unload a model, and load what the repository holds of it.

        Args:
            model: its name.
            timeout: seconds.

        Returns:
            why it could not be loaded; empty where it is ready.
        """

        def call(client: Any) -> None:
            client.unload_model(model, client_timeout=timeout)
            client.load_model(model, client_timeout=timeout)

        return self._call(call)

    def load_as(self, model: str, config: str, timeout: float) -> str:
        """Load a model with this configuration, as JSON, instead of the repository's; as `reload` otherwise."""
        return self._call(lambda client: client.load_model(model, config=config, client_timeout=timeout))

    def _call(self, call: Callable[[Any], None]) -> str:
        import tritonclient.grpc
        from tritonclient.utils import InferenceServerException

        try:
            with tritonclient.grpc.InferenceServerClient(self._grpc, channel_args=_NO_PROXY) as client:
                call(client)
        except InferenceServerException as error:
            return first_line(error.message())
        return ""

    def _ask(self, path: str, data: bytes | None = None) -> Any:
        try:
            with _direct.open(self._url + path, data, timeout=_TIMEOUT) as response:
                return response.read() if response.status == 200 else None
        except (urllib.error.URLError, OSError):
            return None
