"""Triton's own load generator, by subprocess: found or explained, run with an argument list, its files read back."""

from __future__ import annotations

import base64
import csv
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from client.connection import Endpoint, Model
from client.connection.model import INPUT
from client.errors import ClientError
from client.load.generator import Load
from client.statistics import estimates

if TYPE_CHECKING:
    from numpy.typing import NDArray

SDK_IMAGE = "nvcr.io/nvidia/tritonserver:26.08-py3-sdk"
"""The container that carries perf_analyzer; any release talks to any Triton 2.x server."""

MAX_TRIALS = 10
"""Windows before perf_analyzer gives up finding three that agree (its own default)."""

_UNSTABLE = 2  # perf_analyzer's exit code
_NOTHING: dict[str, Any] = {
    "images_per_second": None,
    "latency_ms": dict.fromkeys(("mean", *(f"p{percentile}" for percentile in estimates.PERCENTILES))),
    "requests": 0,
    "server": dict.fromkeys(("queue_ms", "compute_input_ms", "compute_infer_ms", "compute_output_ms")),
}
_IMAGES = 64
_ENVIRONMENT = Path(__file__).parents[2] / ".venv-server"


@dataclass(frozen=True)
class Binary:
    """How to start perf_analyzer.

    Attributes:
        command: the beginning of the argument list.
        libraries: directories that the dynamic linker needs.
        name: for a reader.
        docker: whether it runs in a container, which sees the work directory as `/work`.
    """

    command: tuple[str, ...]
    libraries: tuple[Path, ...] = ()
    name: str = "perf_analyzer"
    docker: bool = False


@contextmanager
def located(binary: Path | None, *, docker: bool) -> Iterator[Binary]:
    """Find perf_analyzer: the container's, the one named, on PATH, or in the embedded server's environment.

    Raises:
        ClientError: there is none.
    """
    if docker:
        if not shutil.which("docker"):
            raise ClientError(
                "--docker needs Docker, which is not on PATH", "leave it out to use a local perf_analyzer"
            )
        yield Binary(("docker",), name=SDK_IMAGE, docker=True)
        return
    if binary is not None:
        if not os.access(binary, os.X_OK) or binary.is_dir():
            raise ClientError(f"--binary {binary} is not an executable file")
        yield Binary((str(binary),), name=str(binary))
        return
    found = shutil.which("perf_analyzer")
    if found:
        yield Binary((found,), name=found)
        return
    bundled = _ENVIRONMENT / "bin/perf_analyzer"
    if not bundled.is_file():
        raise ClientError(
            "there is no perf_analyzer: neither on PATH nor in .venv-server",
            "make setup (its tritonclient wheel brings one), --binary FILE, or --docker",
        )
    with tempfile.TemporaryDirectory(prefix="perf_analyzer-") as directory:
        yield Binary((str(bundled),), _bundled_libraries(Path(directory)), f"{bundled} (tritonclient 2.51.0)")


def _bundled_libraries(links: Path) -> tuple[Path, ...]:
    """The wheel's binary asks for libb64 and libcudart, which lie in the server's wheel under mangled names."""
    for directory in _ENVIRONMENT.glob("lib/python*/site-packages/nvidia_pytriton.libs"):
        for name, pattern in (("libb64.so.0d", "libb64-*.so.0d"), ("libcudart.so.12", "libcudart-*.so.12*")):
            for library in directory.glob(pattern):
                (links / name).symlink_to(library)
        return links, directory
    return ()


def write_input(path: Path, images: NDArray[np.uint8]) -> None:
    """Write images UINT8 [N, 32, 32, 3] as perf_analyzer's `--input-data`; it sends them in turn."""
    data = [
        {INPUT[0]: {"content": {"b64": base64.b64encode(image.tobytes()).decode()}, "shape": list(image.shape)}}
        for image in images[:_IMAGES]
    ]
    path.write_text(json.dumps({"data": data}))


def measure(binary: Binary, endpoint: Endpoint, model: Model, load: Load, images: NDArray[np.uint8]) -> dict[str, Any]:
    """Run perf_analyzer for one load and read what it found.

    Args:
        binary: how to start it.
        endpoint: the server's gRPC.
        model: whom to ask.
        load: a closed loop; its seconds are perf_analyzer's measurement window.
        images: UINT8 [N, 32, 32, 3], the first of which are sent.

    Returns:
        `images_per_second`, `latency_ms`, `server` as in `latency.row`, `stable`, `requests`, `command`; the figures
        are None where perf_analyzer found no stable measurement.

    Raises:
        ClientError: it cannot run, does not end, or its files are not what they should be.
    """
    with tempfile.TemporaryDirectory(prefix="perf_analyzer-") as directory:
        work = Path(directory)
        write_input(work / "input.json", images)
        seen = Path("/work") if binary.docker else work
        options = arguments(endpoint, model, load, seen)
        if binary.docker:
            user = f"{os.getuid()}:{os.getgid()}"
            prefix = ["docker", "run", "--rm", "--network=host", f"--user={user}", f"--volume={work}:/work", SDK_IMAGE]
            command = [*prefix, "perf_analyzer", *options]
        else:
            command = [*binary.command, *options]
        limit = 60 + endpoint.timeout + 2 * MAX_TRIALS * load.seconds
        code, said = _run(command, binary.libraries, limit)
        if code not in (0, _UNSTABLE):
            raise ClientError(f"perf_analyzer left with exit code {code}: {_last_words(said)}", _hint(said))
        # without three windows that agree it leaves with 2, and writes nothing
        found = read(work, load) if code == 0 or (work / "report.csv").exists() else _NOTHING
    return {**found, "stable": code == 0, "command": command}


def arguments(endpoint: Endpoint, model: Model, load: Load, work: Path) -> list[str]:
    """perf_analyzer's options for a closed loop."""
    options = [
        "-m", model.name, "-x", model.version, "-u", endpoint.url, "-i", "grpc",
        "-b", str(load.batch_size),
        "--concurrency-range", str(load.concurrency),
        "--measurement-mode", "time_windows",
        "--measurement-interval", str(round(1000 * load.seconds)),
        "--max-trials", str(MAX_TRIALS),
        "--input-data", str(work / "input.json"),
        "-f", str(work / "report.csv"),
        "--profile-export-file", str(work / "profile.json"),
    ]  # fmt: skip
    if endpoint.tls:
        options += ["--ssl-grpc-use-ssl", "--ssl-grpc-root-certifications-file", str(endpoint.tls.ca)]
        if endpoint.tls.certificate:
            options += ["--ssl-grpc-certificate-chain-file", str(endpoint.tls.certificate)]
            options += ["--ssl-grpc-private-key-file", str(endpoint.tls.key)]
    return options


def read(work: Path, load: Load) -> dict[str, Any]:
    """Read `report.csv` and `profile.json`.

    Raises:
        ClientError: one is missing, or lacks what is needed.
    """
    try:
        row = rows(work / "report.csv")[0]
        if int(row["Concurrency"]) != load.concurrency:
            raise ValueError(f"concurrency {row['Concurrency']} instead of {load.concurrency}")
        latencies = exported_latencies_ms(work / "profile.json")
        return {
            "images_per_second": float(row["Inferences/Second"]),
            "latency_ms": estimates.latency_summary(latencies),
            "requests": len(latencies),
            "server": {
                "queue_ms": _milliseconds(row, "Server Queue"),
                "compute_input_ms": _milliseconds(row, "Server Compute Input"),
                "compute_infer_ms": _milliseconds(row, "Server Compute Infer"),
                "compute_output_ms": _milliseconds(row, "Server Compute Output"),
            },
        }
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise ClientError(
            f"perf_analyzer wrote no report that can be read: {type(error).__name__}: {error}", "see --verbose"
        ) from error


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of perf_analyzer's CSV by concurrency; it writes them by throughput, after a header of its choice."""
    with path.open(newline="") as file:
        found = [{(name or "").strip(): value for name, value in row.items()} for row in csv.DictReader(file)]
    return sorted(found, key=lambda row: int(row["Concurrency"]))


def exported_latencies_ms(path: Path) -> NDArray[np.float64]:
    """Latency of every request that a profile export holds, from sending to the last response, in ms."""
    experiments = json.loads(path.read_text())["experiments"]
    latencies = [
        (request["response_timestamps"][-1] - request["timestamp"]) / 1e6
        for experiment in experiments
        for request in experiment["requests"]
        if request["response_timestamps"]
    ]
    return np.array(latencies, np.float64)


def _milliseconds(row: dict[str, str], name: str) -> float | None:
    """A column in microseconds; None where the server gave no statistics."""
    return float(row[name]) / 1000 if row.get(name) else None


def _run(command: list[str], libraries: tuple[Path, ...], limit: float) -> tuple[int, str]:
    """Run in a session of its own, so that all of it can be stopped; returns the exit code and what it said."""
    environment = dict(os.environ)
    if libraries:
        paths = [*(str(path) for path in libraries), environment.get("LD_LIBRARY_PATH", "")]
        environment["LD_LIBRARY_PATH"] = ":".join(path for path in paths if path)
    try:
        process = subprocess.Popen(  # noqa: S603  an argument list, no shell
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        raise ClientError(f"cannot start {command[0]}: {error.strerror}") from None
    try:
        said, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        raise ClientError(
            f"perf_analyzer did not end within {limit:.0f} s", "shorter --duration, or is the server overloaded?"
        ) from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return process.returncode, said


def _last_words(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    telling = [line for line in lines if "error" in line.lower() or "failed" in line.lower()]
    return " ".join((telling or lines)[-2:]) or "it said nothing"


def _hint(said: str) -> str:
    if "GLIBC" in said:
        return "this binary needs a newer system: --docker, or the one that `make setup` brings"
    if "shared libraries" in said:
        return "make setup brings a perf_analyzer with its libraries; or --docker"
    return ""
