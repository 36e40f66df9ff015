from __future__ import annotations

import os

import numpy as np
import pytest

from tests.support import models
from tests.support.containers import DOCKER, authority, certificate, docker, require_engine


@pytest.fixture(scope="session")
def image():
    """The embedded Triton's image, built once; skips where there is no engine, or no base image to be had."""
    require_engine()
    files = [option for name in ("compose.yaml", "compose.embedded.yaml") for option in ("--file", str(DOCKER / name))]
    if "BASE" not in os.environ and not docker("images", "--quiet", "python:3.12-slim") and not _can_pull():
        pytest.skip("no base image: python:3.12-slim cannot be pulled, and BASE names no other one")
    wheels = os.environ.get("IMAGE_WHEELS")  # of the build's context, where PyPI cannot be reached from containers
    variables = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": wheels} if wheels else {}
    docker("compose", *files, "build", "triton", timeout=600, **variables)
    return "resnet18-embedded"


def _can_pull() -> bool:
    docker("pull", "--quiet", "python:3.12-slim", check=False, timeout=300)
    return bool(docker("images", "--quiet", "python:3.12-slim"))


@pytest.fixture(scope="session")
def repository(tmp_path_factory):
    """A network with the project's signature and a known answer, and a plan that this image cannot load."""
    path = tmp_path_factory.mktemp("repository")
    models.add_classifier(path, "resnet18_onnx")
    plan = models.add_model(path, "resnet18_tensorrt", 'platform: "tensorrt_plan"\nmax_batch_size: 4\n')
    plan.with_name("model.plan").write_bytes(b"a plan")
    _let_others_read(path)
    return path


@pytest.fixture(scope="session")
def slow_repository(tmp_path_factory):
    """The same name on a model that takes a second for a request."""
    path = tmp_path_factory.mktemp("slow")
    models.add_sleeper(path, "resnet18_onnx", seconds=1)
    _let_others_read(path)
    return path


def _let_others_read(path) -> None:
    """The containers' user is not this one. What lies above is not theirs to see: only this is mounted."""
    for file in (path, *path.rglob("*")):
        file.chmod(file.stat().st_mode | (0o055 if file.is_dir() else 0o044))


@pytest.fixture(scope="session")
def secrets(tmp_path_factory):
    """What docs/deployment.md makes, and certificates that must not be accepted."""
    path = tmp_path_factory.mktemp("secrets")
    for name in ("server-ca", "client-ca", "wrong-ca"):
        authority(path, name)
    certificate(path, "server", "server-ca", "DNS:localhost,IP:127.0.0.1")
    certificate(path, "client", "client-ca", "DNS:client")
    certificate(path, "expired", "client-ca", "DNS:client", days=-1)
    certificate(path, "stranger", "wrong-ca", "DNS:client")
    (path / "admin-key").write_text("0123456789abcdef" * 4)
    _let_others_read(path)
    return path


@pytest.fixture(scope="session")
def images():
    """UINT8 [8, 32, 32, 3], whose classes are 0 to 7."""
    pixels = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), np.uint8)
    pixels[:, 0, 0, 0] = np.arange(8) + 10 * np.arange(8)
    return pixels
