"""What CUDA's refusals look like to whoever reads the log."""

from __future__ import annotations

import subprocess

import pytest

from tests.support.triton import ROOT, SERVER_PYTHON, require_server

_SHARED = str(ROOT / "server/backends/shared")


def said(code: str) -> str:
    """What a script of the server's environment prints."""
    require_server()
    script = f"import sys; sys.path.insert(0, {_SHARED!r})\n{code}"
    return subprocess.run([SERVER_PYTHON, "-c", script], capture_output=True, text=True, check=True, timeout=60).stdout


TRY = "import cuda_calls\ntry: cuda_calls.Gpu(1000)\nexcept ValueError as error: print(error)"


def test_bindings_that_are_missing_are_named():
    found = said(f"sys.modules['cuda.bindings'] = None\n{TRY}")
    assert "cuda-bindings is not installed" in found
    assert "make setup-gpu" in found


def test_no_driver_or_no_such_gpu_is_one_line():
    if "not installed" in (found := said(TRY)):
        pytest.skip("cuda-bindings is not installed in the embedded server's environment")
    assert found.startswith("CUDA, GPU 1000: ")
    assert len(found.splitlines()) == 1
