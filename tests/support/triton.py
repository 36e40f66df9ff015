"""The real embedded Triton, started as a user starts it, and what must be gone after it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil
import pytest

ROOT = Path(__file__).parents[2]
SERVER_PYTHON = Path(os.environ.get("SERVER_PYTHON", ROOT / ".venv-server/bin/python"))
FREE_PORTS = ("--http-port=0", "--grpc-port=0", "--metrics-port=0")


@dataclass
class Served:
    """A running server.

    Attributes:
        launcher: the `python -m server` process.
        server_pid: tritonserver's.
        grpc: HOST:PORT.
        http: HOST:PORT.
        models: the names it serves.
        left_out: the names it does not serve, with reasons.
    """

    launcher: subprocess.Popen[str]
    server_pid: int
    grpc: str
    http: str
    models: list[str]
    left_out: dict[str, str]


def require_server() -> None:
    """Skip, with the reason, where the embedded server's environment has not been made."""
    if not SERVER_PYTHON.is_file():
        pytest.skip(f"the embedded server's environment is missing ({SERVER_PYTHON}); `make setup` makes it")


def has_ipv6() -> bool:
    """Whether this machine's loopback has an address of IPv6."""
    try:
        with socket.socket(socket.AF_INET6) as listener:
            listener.bind(("::1", 0))
    except OSError:
        return False
    return True


def run_server(*options: str, timeout: float = 120, **kwargs: object) -> subprocess.CompletedProcess[str]:
    """Run the launcher to its end."""
    require_server()
    command = [SERVER_PYTHON, "-m", "server", *FREE_PORTS, *options]
    settings = {"cwd": ROOT, "capture_output": True, "text": True, "timeout": timeout, "check": False, **kwargs}
    return subprocess.run(command, **settings)


@contextmanager
def start_server(
    repository: Path,
    *options: str,
    python: Path = SERVER_PYTHON,
    cwd: Path = ROOT,
    env: dict[str, str] | None = None,
    stderr: IO[str] | None = None,
) -> Iterator[Served]:
    """Serve a repository on free ports; fails the test with the launcher's words if it does not start.

    `stderr` takes these words; without it they are the launcher's `stderr`, to be read when it has ended.
    """
    require_server()
    with tempfile.TemporaryDirectory() as directory:
        ready = Path(directory) / "ready.json"
        launcher = subprocess.Popen(
            [
                python,
                "-m",
                "server",
                f"--repository={repository}",
                *FREE_PORTS,
                f"--ready-file={ready}",
                *options,
            ],
            cwd=cwd,
            env=env,
            stderr=stderr or subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            wait_for(lambda: ready.exists() or launcher.poll() is not None, 120)
            if not ready.exists():
                pytest.fail(f"the server did not start:\n{_words(launcher, stderr)}")
            content = json.loads(ready.read_text())
            addresses = content["grpc"], content["http"]
            yield Served(launcher, content["server_pid"], *addresses, content["models"], content["left_out"])
        finally:
            launcher.terminate()
            launcher.wait(60)
            if launcher.stderr:
                launcher.stderr.close()


def _words(launcher: subprocess.Popen[str], file: IO[str] | None) -> str:
    if file is None:
        return launcher.stderr.read()
    file.seek(0)
    return file.read()


def wait_for(condition, seconds: float) -> None:
    """Poll until `condition()` holds, and fail when it does not within a generous time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"still not so after {seconds} s")
        time.sleep(0.05)


def left_behind(launcher_pid: int) -> list[str]:
    """Processes, shared-memory regions and directories of a launcher that are still there."""
    name = f"embedded_triton_{launcher_pid}_"
    found = [str(path) for root in ("/dev/shm", tempfile.gettempdir()) for path in Path(root).glob(f"{name}*")]
    for process in psutil.process_iter(["cmdline"]):
        if any(name in argument for argument in process.info["cmdline"] or ()):
            found.append(" ".join(process.info["cmdline"]))
    return found
