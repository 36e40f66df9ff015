"""The library that serves plans, as pip installs it: the wheels that `make setup-gpu` names, and no other."""

from __future__ import annotations

import json

import pytest

from server.triton.backend_folders import BACKENDS
from tests.support import tensorrt_rtx

FOLDERS = [str(tensorrt_rtx.ROOT / "server/backends" / name) for name in ("tensorrt", "shared")]
SCRIPT = f"""
import importlib.util, json, sys
sys.path[:0] = {FOLDERS!r}
import plan_library
from server.triton import backend_folders
version = plan_library.Library("tensorrt_rtx").version
try:
    other = plan_library.Library("tensorrt").version
except ValueError as error:
    other = str(error)
print(json.dumps([version, "tensorrt_rtx" in backend_folders.present(), other]))
"""


@pytest.mark.parametrize("version", tensorrt_rtx.VERSIONS)
def test_the_wheels_of_setup_gpu_make_a_backend(version):
    done = tensorrt_rtx.run_python(version, "-c", SCRIPT)
    assert done.returncode == 0, done.stderr
    found, present, other = json.loads(done.stdout)
    assert found == f"TensorRT for RTX {version}"
    assert present, "the launcher leaves out the backend of a library that can be imported"
    assert other.startswith("TensorRT cannot be imported in the server's environment: No module named 'tensorrt")


def test_launcher_and_backend_try_the_same_modules(backend):
    modules = backend("plan_library")._MODULES
    assert modules == {name: BACKENDS[name][0] for name in modules}
