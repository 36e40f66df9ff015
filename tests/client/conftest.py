from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cifar10 import CLASS_NAMES
from tests.support import models
from tests.support.triton import Served, start_server

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="package")
def repository(tmp_path_factory: pytest.TempPathFactory):
    """Models of this project's signature, and one of another."""
    path = tmp_path_factory.mktemp("repository")
    models.add_classifier(path)
    models.add_doubler(path)
    models.add_classifier(path, "ninths", config="\n", modulus=9, labels=CLASS_NAMES[::-1])
    return path


@pytest.fixture(scope="package")
def served(repository) -> Served:
    with start_server(repository) as server:
        yield server


@pytest.fixture(scope="package")
def certificates(tmp_path_factory):
    """An authority, a server and a client signed by it, and a stranger."""
    directory = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)

    for name in ("authority", "stranger"):
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}",
                "-keyout", f"{name}.key", "-out", f"{name}.pem")  # fmt: skip
    (directory / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1")
    for name in ("server", "client"):
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", f"{name}.key",
                "-out", f"{name}.csr")  # fmt: skip
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "authority.pem", "-CAkey", "authority.key",
                "-CAcreateserial", "-days", "2", "-extfile", "names", "-out", f"{name}.pem")  # fmt: skip
    return directory


@pytest.fixture
def run_client(tmp_path):
    """Run `python -m client` as a user does, in a folder of its own; returns the finished process."""

    def run(*arguments: str, **kwargs) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "client", *map(str, arguments)]
        environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=120, **kwargs
        )

    return run


def write_dataset(directory: Path, pixels: np.ndarray, labels: np.ndarray) -> Path:
    """A test split in the Hugging Face layout whose images are one red value each, stored without loss."""
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    encoded = []
    for value in pixels:
        image = np.full((32, 32, 3), value, np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, format="PNG")
        encoded.append({"bytes": buffer.getvalue(), "path": None})
    directory.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"img": encoded, "label": pa.array(labels, pa.int64())}), directory / "test.parquet")
    return directory


def write_reference(path: Path, pixels: np.ndarray, *, wrong: int = 0, modulus: int = 10) -> Path:
    """Answers of `models.add_classifier` to images of one value each; the first `wrong` of them are falsified."""
    images = np.broadcast_to(pixels[:, None, None, None], (len(pixels), 32, 32, 3)).astype(np.uint8)
    classes = pixels % modulus
    classes[:wrong] = (classes[:wrong] + 1) % 10
    np.savez(path, images=images, logits=np.eye(10, dtype=np.float32)[classes])
    return path


def regions(served: Served) -> list[str]:
    """Shared memory of clients that is still there: registered with the server, or in the system."""
    import tritonclient.grpc as grpcclient

    with grpcclient.InferenceServerClient(served.grpc) as client:
        registered = client.get_system_shared_memory_status(as_json=True).get("regions", {})
    return [*registered, *(path.name for path in Path("/dev/shm").glob("triton_client_*"))]
