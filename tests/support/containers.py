"""A real Docker engine with the compose files' services on it, and certificates for them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
CPU = ("compose.yaml", "compose.cpu.yaml", "compose.embedded.yaml")
OLDEST_COMPOSE = (2, 24, 4)
"""The first that knows `!reset` and `!override`."""


def docker(*arguments: str, check: bool = True, timeout: float = 180, **variables: str) -> str:
    """Run docker and return its standard output; `check` fails the test with its words."""
    done = subprocess.run(
        ["docker", *arguments],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )
    if check and done.returncode:
        pytest.fail(f"docker {' '.join(arguments)}:\n{done.stdout[-2000:]}{done.stderr[-3000:]}")
    return done.stdout.strip()


def require_engine() -> None:
    """Skip, with the reason, where no Docker engine answers or its compose is missing or too old."""
    try:
        engine, plugin = (
            subprocess.run(["docker", *words], capture_output=True, text=True, check=False)
            for words in (("version", "--format", "{{.Server.Version}}"), ("compose", "version", "--short"))
        )
    except FileNotFoundError:
        pytest.skip("docker is not installed")
    if engine.returncode:
        pytest.skip("no Docker engine answers (.ci/run starts one, as root)")
    if plugin.returncode:
        pytest.skip("docker has no compose plugin")
    version = tuple(int(part) for part in plugin.stdout.strip().lstrip("v").split("-")[0].split("."))
    if version < OLDEST_COMPOSE:
        pytest.skip(f"docker compose {plugin.stdout.strip()} is older than 2.24.4, which reads these files")


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, all different."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@dataclass
class Project:
    """Services that `docker compose up` has started.

    Attributes:
        name: compose's project name.
        files: the compose files, of docker/.
        variables: their environment.
    """

    name: str
    files: Sequence[str]
    variables: dict[str, str] = field(default_factory=dict)

    def compose(self, *arguments: str, check: bool = True) -> str:
        """Run docker compose on the project."""
        files = [option for name in self.files for option in ("--file", str(DOCKER / name))]
        return docker("compose", "--project-name", self.name, *files, *arguments, check=check, **self.variables)

    def url(self, port: str) -> str:
        """HOST:PORT of a variable such as GRPC_PORT."""
        return f"127.0.0.1:{self.variables[port]}"

    def container(self, service: str = "triton") -> str:
        """A service's container."""
        return self.compose("ps", "--all", "--quiet", service)

    def inspect(self, service: str = "triton") -> dict:
        """What Docker knows of a service's container."""
        return json.loads(docker("inspect", self.container(service)))[0]

    def inside(self, command: str, user: str = "1000:1000") -> str:
        """Standard output and error of a shell command in Triton's container."""
        return docker("exec", "--user", user, self.container(), "bash", "-c", f"{{ {command}; }} 2>&1; true")

    def is_healthy(self) -> bool:
        """Whether the health check passes now."""
        return self.inspect()["State"].get("Health", {}).get("Status") == "healthy"


@contextmanager
def up(repository: Path, *overlays: str, services: Sequence[str] = (), **variables: str) -> Iterator[Project]:
    """Start the CPU's compose files with the embedded Triton's image, and remove everything afterwards."""
    names = ("HTTP_PORT", "GRPC_PORT", "METRICS_PORT", "HTTPS_PORT")
    ports = dict(zip(names, map(str, free_ports(len(names))), strict=True))
    fixed = {"MODEL_REPOSITORY": str(repository), "PUBLIC_ADDRESS": "127.0.0.1"}
    name = f"test-{os.getpid()}-{ports['GRPC_PORT']}"
    project = Project(name, (*CPU, *overlays), ports | fixed | variables)
    try:
        project.compose("up", "--detach", "--wait", "--wait-timeout", "120", *services)
        yield project
    finally:
        project.compose("down", "--timeout", "5", "--volumes", check=False)


def openssl(directory: Path, *arguments: str) -> None:
    """Run openssl in a directory."""
    subprocess.run(["openssl", *arguments], cwd=directory, capture_output=True, text=True, check=True)


_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def authority(directory: Path, name: str) -> None:
    """Make NAME.crt and NAME.key, which sign others."""
    subject = ("-days", "2", "-subj", f"/CN={name}")
    openssl(directory, "req", "-x509", *_KEY, *subject, "-keyout", f"{name}.key", "-out", f"{name}.crt")


def certificate(directory: Path, name: str, signed_by: str, names: str, days: int = 2) -> None:
    """Make NAME.crt and NAME.key, as docs/deployment.md does; negative `days` have expired already."""
    openssl(directory, "req", *_KEY, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
    (directory / "extensions").write_text(f"subjectAltName={names}\n")
    openssl(directory, "x509", "-req", "-in", f"{name}.csr", "-CA", f"{signed_by}.crt", "-CAkey", f"{signed_by}.key",
            "-CAcreateserial", "-days", str(days), "-extfile", "extensions", "-out", f"{name}.crt")  # fmt: skip
