"""Which backends an environment serves with, and what is said of those it does not."""

from __future__ import annotations

from importlib.machinery import ModuleSpec

import pytest

from server.errors import ServerError
from server.selection.models import select_models
from server.triton import backend_folders
from tests.support.models import add_doubler, add_model


@pytest.fixture
def installed(monkeypatch):
    def installed(*libraries: str) -> None:
        def find(name: str) -> ModuleSpec | None:
            return ModuleSpec(name, None) if name in libraries else None

        monkeypatch.setattr(backend_folders.importlib.util, "find_spec", find)

    return installed


@pytest.mark.parametrize(
    ("libraries", "backends"),
    [
        (("onnxruntime",), {"onnxruntime"}),
        (("onnxruntime", "tensorrt_rtx"), {"onnxruntime", "tensorrt_rtx"}),
        (("onnxruntime", "tensorrt_rtx_bindings"), {"onnxruntime", "tensorrt_rtx"}),  # as PyPI's wheels are
        (("onnxruntime", "tensorrt_bindings"), {"onnxruntime", "tensorrt"}),  # as in NVIDIA's container
        (("onnxruntime", "tensorrt"), {"onnxruntime", "tensorrt"}),
        (("tensorrt", "tensorrt_rtx"), {"onnxruntime", "tensorrt", "tensorrt_rtx"}),
    ],
)
def test_a_backend_is_there_where_its_library_is(installed, libraries, backends):
    installed(*libraries)
    found = backend_folders.present()
    assert set(found) == backends
    assert all("shared" in folders for folders in found.values())


@pytest.mark.parametrize(
    ("config", "backend", "how"),
    [
        ('backend: "tensorrt_rtx"\n', "tensorrt_rtx", "make setup-gpu"),
        ('platform: "tensorrt_plan"\n', "tensorrt", "pip install tensorrt-cu13"),
    ],
)
def test_a_model_without_its_library_is_left_out_with_how_to_get_it(installed, tmp_path, config, backend, how):
    installed("onnxruntime")
    add_doubler(tmp_path, "present")
    add_model(tmp_path, "plan", config + "max_batch_size: 4\n").with_name("model.plan").write_bytes(b"a plan")
    selection = select_models(tmp_path)
    assert selection.served == ("present",)
    assert f"no {backend} backend" in selection.left_out["plan"]
    with pytest.raises(ServerError) as refused:
        select_models(tmp_path, ["plan"])
    assert how in refused.value.hint
