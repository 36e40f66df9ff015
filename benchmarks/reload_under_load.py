"""Does a new version cost a request? Clients ask without a pause while versions are published, refused and rolled back.

    .venv/bin/python benchmarks/reload_under_load.py --output results/reload-under-load.json

Versions are networks of this project's signature whose answers differ visibly (a pixel modulo 10, 9, ...).
In turn: a good version is published and loaded; rolled back; another one; one whose file is damaged; rolled back; one
whose configuration contradicts it; rolled back. Each answer is compared with that of the version that it names. Bars:
no request fails; every answer is its version's; a request sent after a load returned is not answered by the version
before; one answered before a load was sent is not answered by the version after. Exit code 2 where one is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tritonclient.grpc as grpcclient
from tritonclient.utils import InferenceServerException

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.served import embedded_server, machine  # noqa: E402  run from its folder, not installed
from builder.publishing.repository import Model, Repository  # noqa: E402
from tests.support.models import add_classifier  # noqa: E402

NAME = "classifier"
PATIENCE = 60
"""Seconds that a request or a load may take before it counts as lost."""


@dataclass
class Request:
    """One request: when it was sent and answered, by which version, and what was wrong with it."""

    sent: float
    answered: float
    version: int
    fault: str


@dataclass
class Load:
    """One load: when it was asked for and returned, which version served before and after, and what was done."""

    what: str
    sent: float
    returned: float
    before: int
    after: int
    refused: str = ""


@dataclass
class Published:
    """The repository, with what each version answers.

    Attributes:
        moduli: version -> the number by which its class is the rest.
    """

    repository: Repository
    moduli: dict[int, int] = field(default_factory=dict)
    config: str = ""

    def publish(self, modulus: int, *, replaced: tuple[str, str] = ("", "")) -> int:
        """Publish a version; `replaced` is exchanged in its configuration."""
        with tempfile.TemporaryDirectory() as directory:
            model = add_classifier(Path(directory), NAME, modulus=modulus)
            config = model.parents[1].joinpath("config.pbtxt").read_text()
            labels = model.parents[1].joinpath("labels.txt").read_bytes()
            found = self.repository.publish(
                Model(NAME, config.replace(*replaced) if replaced[0] else config, {"labels.txt": labels},
                      {"model.onnx": model.read_bytes()}, "model.onnx", {"what": "a benchmark's"})
            )  # fmt: skip
        self.moduli[found.version] = modulus
        return found.version

    def damage(self, version: int) -> None:
        """Cut a version's file short, as a bad disk or copy does."""
        path = self.repository.path / NAME / str(version) / "model.onnx"
        content = path.read_bytes()
        path.unlink()  # it may be linked to elsewhere
        path.write_bytes(content[: len(content) // 2])

    def roll_back(self, version: int) -> None:
        """As `builder rollback` does."""
        self.repository.roll_back(NAME, version)


class Client(threading.Thread):
    """Asks without a pause, until `stopped`."""

    def __init__(self, url: str, published: Published, stopped: threading.Event, seed: int) -> None:
        super().__init__(daemon=True)
        self._url, self._published, self._stopped = url, published, stopped
        self._random = np.random.default_rng(seed)
        self.requests: list[Request] = []

    def run(self) -> None:
        with grpcclient.InferenceServerClient(self._url) as client:
            while not self._stopped.is_set():
                images = self._random.integers(0, 256, (int(self._random.integers(1, 9)), 32, 32, 3), np.uint8)
                given = grpcclient.InferInput("images", images.shape, "UINT8")
                given.set_data_from_numpy(images)
                sent, version, fault = time.monotonic(), 0, ""
                try:
                    answer = client.infer(NAME, [given], client_timeout=PATIENCE)
                    version = int(answer.get_response().model_version)
                    fault = self._fault(images, answer.as_numpy("logits"), version)
                except InferenceServerException as error:
                    fault = f"failed: {error}"
                self.requests.append(Request(sent, time.monotonic(), version, fault))

    def _fault(self, images: np.ndarray, logits: np.ndarray, version: int) -> str:
        expected = np.eye(10, dtype=np.float32)[images[:, 0, 0, 0] % self._published.moduli[version]]
        return "" if np.array_equal(logits, expected) else f"not the answer of version {version}, which it names"


def main() -> None:
    """Serve, ask, publish, judge, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60, help="how long; at least one round (default: %(default)s)")
    parser.add_argument("--clients", type=int, default=4, help="requests in flight (default: %(default)s)")
    parser.add_argument("--least", type=int, default=5000, help="requests that must be made (default: %(default)s)")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        published = Published(Repository(Path(directory) / "repository"))
        first = published.publish(10)
        with embedded_server(published.repository.path) as url:
            stopped = threading.Event()
            clients = [Client(url, published, stopped, seed) for seed in range(given.clients)]
            for client in clients:
                client.start()
            loads = serve_rounds(url, published, first, time.monotonic() + given.seconds)
            stopped.set()
            for client in clients:
                client.join(2 * PATIENCE)
    requests = [request for client in clients for request in client.requests]
    faults = judge(requests, loads)
    if len(requests) < given.least:
        faults.append(f"{len(requests)} requests were made, fewer than {given.least}")
    result = {
        "machine": machine(), "clients": given.clients, "requests": len(requests), "loads": len(loads),
        "refused": sum(bool(load.refused) for load in loads), "faults": faults[:20], "count_of_faults": len(faults),
        "versions": sorted({request.version for request in requests}),
        "slowest_s": round(max(request.answered - request.sent for request in requests), 3),
    }  # fmt: skip
    print(json.dumps(result, indent=2))
    if given.output:
        given.output.parent.mkdir(parents=True, exist_ok=True)
        given.output.write_text(json.dumps(result, indent=2) + "\n")
    sys.exit(2 if faults else 0)


def serve_rounds(url: str, published: Published, version: int, until: float) -> list[Load]:
    """Publish, damage and roll back, round after round; each with a load. Returns what was loaded."""
    loads: list[Load] = []
    modulus = 10
    with grpcclient.InferenceServerClient(url) as client:

        def load(what: str, after: int) -> None:
            before = loads[-1].after if loads else version
            time.sleep(0.3)  # so that requests fall into the time between publishing and loading
            sent, refused = time.monotonic(), ""
            try:
                client.load_model(NAME, client_timeout=PATIENCE)
            except InferenceServerException as error:
                refused = str(error)
            loads.append(Load(what, sent, time.monotonic(), before, before if refused else after, refused))
            time.sleep(0.3)

        while not loads or time.monotonic() < until:
            modulus = modulus - 1 if modulus > 4 else 10
            new = published.publish(modulus)
            load("good", new)
            back = loads[-1].before
            published.roll_back(back)
            load("rollback", back)
            modulus = modulus - 1 if modulus > 4 else 10
            good = published.publish(modulus)
            load("good", good)
            for what, replaced in (("damaged", ("", "")), ("wrong configuration", ("dims: [10]", "dims: [11]"))):
                bad = published.publish(modulus - 1, replaced=replaced)
                if what == "damaged":
                    published.damage(bad)
                load(what, bad)
                published.roll_back(good)
                load("rollback", good)
    return loads


def judge(requests: list[Request], loads: list[Load]) -> list[str]:
    """What missed the bars, in words."""
    faults = [request.fault for request in requests if request.fault]
    for load in loads:
        if (load.what in ("damaged", "wrong configuration")) != bool(load.refused):
            faults.append(f"load '{load.what}': {load.refused or 'not refused'}")
    for request in requests:
        if request.fault.startswith("failed"):
            continue
        returned = [load for load in loads if load.returned <= request.sent]
        current = {returned[-1].after} if returned else {loads[0].before}
        current |= {load.after for load in loads if load.returned > request.sent and load.sent < request.answered}
        if request.version not in current:
            faults.append(f"answered by version {request.version} where {sorted(current)} served")
    return faults


if __name__ == "__main__":
    main()
