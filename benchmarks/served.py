"""The embedded server, started for a benchmark, and the client's loader on it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from client.connection import Control, Endpoint, Transport  # noqa: E402
from client.load import perf_analyzer, summary  # noqa: E402
from client.load.generator import Load  # noqa: E402
from client.load.sweep import Window, sweep  # noqa: E402
from client.load.workers import LocalLoader  # noqa: E402
from client.results import environment  # noqa: E402


@contextmanager
def embedded_server(repository: Path, *options: str):
    """Start the embedded server on free ports and yield its gRPC address; SIGTERM ends both."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with tempfile.TemporaryDirectory() as directory:
        ready = Path(directory) / "ready.json"
        command = [ROOT / ".venv-server/bin/python", "-m", "server", f"--repository={repository}", *options,
                   "--http-port=0", "--grpc-port=0", "--metrics-port=0", f"--ready-file={ready}"]  # fmt: skip
        process = subprocess.Popen(command, cwd=ROOT, start_new_session=True, stderr=subprocess.PIPE, text=True)
        try:
            while not ready.exists():
                if process.poll() is not None:
                    sys.exit(f"the server did not start: {process.stderr.read()}")
                time.sleep(0.1)
            yield json.loads(ready.read_text())["grpc"]
        finally:
            process.terminate()
            process.wait()


class Measured:
    """The client's own loader on a server, one window at a time; use it as a context manager.

    Args:
        url: the server's gRPC.
        images: UINT8 [N, 32, 32, 3] to send.
        transport: how they travel.
    """

    def __init__(self, url: str, images: np.ndarray, transport: Transport = Transport.GRPC) -> None:
        self.endpoint = Endpoint(url, transport)
        self.control = Control(self.endpoint)
        self.images = images
        self.loader = LocalLoader(self.endpoint, images)

    def __enter__(self) -> Measured:
        return self

    def __exit__(self, *_: object) -> None:
        self.loader.close()
        self.control.close()

    def window(self, name: str, load: Load) -> Window:
        """Warm up and measure one window."""
        (window,) = sweep(self.control, self.loader, [self.control.model(name)], [load], 1)
        return window

    def images_per_second(self, name: str, load: Load) -> float:
        """Throughput of one window."""
        return summary.images_per_second(self.window(name, load).record, load)


def by_perf_analyzer(binary: perf_analyzer.Binary, client: Measured, name: str, load: Load) -> float:
    """Throughput as perf_analyzer measures it, again and again until three of its windows agree."""
    model = client.control.model(name)
    while True:
        found = perf_analyzer.measure(binary, client.endpoint, model, load, client.images)
        if found["stable"]:
            return found["images_per_second"]


def machine() -> str:
    """The machine and the day, for the line under a figure."""
    found = environment()
    gpus = "".join(f"{gpu}, " for gpu in found["gpus"])
    return f"{gpus}{found['cpu']}, {found['cores']} cores, {date.today()}"
