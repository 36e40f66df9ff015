from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from tests.support import models
from tests.support.triton import Served, start_server


@pytest.fixture(scope="package")
def repository(tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.mktemp("repository")
    models.add_doubler(path)
    models.add_classifier(path)
    models.add_convolution(path)
    plan = models.add_model(path, "plan", 'platform: "tensorrt_plan"\nmax_batch_size: 4\n')
    plan.with_name("model.plan").write_bytes(b"a plan")
    return path


@pytest.fixture(scope="package")
def served(repository) -> Served:
    with start_server(repository) as server:
        yield server


@pytest.fixture
def backend(monkeypatch):
    """Imports a module of the ONNX backend as Triton's process for Python models does."""
    for folder in ("shared", "onnxruntime", "tensorrt"):
        monkeypatch.syspath_prepend(Path(__file__).parents[2] / "server/backends" / folder)
    return importlib.import_module
