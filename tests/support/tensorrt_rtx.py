"""Real TensorRT for RTX from PyPI: builder and parser run without a GPU. Each version in its own folder and process.

1.4 has TensorRT 10's interface, 1.5 and later have TensorRT 11's, so a few versions show both.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from console.tensorrt_rtx import BY_COMPUTE_CAPABILITY, NEWEST, requirements

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "tensorrt-rtx"
VERSIONS = ("1.4.0.76", *BY_COMPUTE_CAPABILITY.values(), NEWEST)
"""With the interface of TensorRT 10; and those that `make setup-gpu` installs."""


def installed(version: str) -> Path:
    """The folder that holds a version; skips the test, with the reason, where it cannot be had."""
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    target = CACHE / f"{version}-{tag}"
    if not target.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_name(f"{target.name}.{os.getpid()}")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary=:all:", "--target", str(unfinished), *requirements(version)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
        if done.returncode:
            reason = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["pip failed"]
            pytest.skip(f"TensorRT for RTX {version} is not in {CACHE} and cannot be installed: {reason[-1]}")
        try:
            unfinished.rename(target)
        except OSError:  # another run was quicker
            assert target.is_dir()
    return target


def environment(version: str) -> dict[str, str]:
    """For a process that imports this version, and no TensorRT of the machine's."""
    return {**os.environ, "PYTHONPATH": f"{installed(version)}:{ROOT}"}


def run_python(version: str, *arguments: str, cwd: Path = ROOT, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run this Python beside a version, to its end."""
    command = [sys.executable, *arguments]
    return subprocess.run(
        command,
        input=given,
        env=environment(version),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
