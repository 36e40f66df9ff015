"""The real Python bindings of TensorRT, importable without TensorRT: over stub libraries compiled here.

The bindings are small wheels on PyPI. To be imported they need only that nine C functions exist, which the stubs give
them; every class, enum member and method can then be looked at, and nothing can be built.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CACHE = Path(__file__).parents[2] / ".cache" / "tensorrt-bindings"
VERSIONS = ("10.16.1.11", "11.2.1.2", "11.4.0.106")

_STUBS = {
    "nvinfer": (
        "createInferBuilder_INTERNAL",
        "createInferRefitter_INTERNAL",
        "createInferRuntime_INTERNAL",
        "getBuilderPluginRegistry",
        "getPluginRegistry",
    ),
    "nvinfer_plugin": ("initLibNvInferPlugins",),
    "nvonnxparser": (
        "createNvOnnxParser_INTERNAL",
        "createNvOnnxParserRefitter_INTERNAL",
        "getNvOnnxParserVersion",
    ),
}

PROBE = """
import json, sys
import tensorrt_bindings

def exists(path):
    found = tensorrt_bindings
    for name in path.split("."):
        if not hasattr(found, name):
            return False
        found = getattr(found, name)
    return True

missing = [path for path in json.load(sys.stdin) if not exists(path)]
print(json.dumps({"version": tensorrt_bindings.__version__, "missing": missing}))
"""


class Bindings:
    """One version of the bindings.

    Args:
        version: as on PyPI. Skips the test, with the reason, where the wheel cannot be had or nothing compiles C.
    """

    def __init__(self, version: str) -> None:
        self.version = version
        self._packages = _unpacked(version)
        self._libraries = _stubs(version.split(".")[0])

    def missing(self, paths: list[str]) -> list[str]:
        """Which of `paths` ("IBuilderConfig.set_flag") the bindings do not have; asked in a process of its own."""
        answer = json.loads(self.run(PROBE, json.dumps(paths)))
        assert answer["version"] == self.version
        return answer["missing"]

    def run(self, script: str, given: str = "") -> str:
        """What a script prints that imports `tensorrt_bindings`, and perhaps this project."""
        paths = f"{self._packages}:{CACHE.parents[1]}"
        environment = {**os.environ, "PYTHONPATH": paths, "LD_LIBRARY_PATH": str(self._libraries)}
        command = [sys.executable, "-c", script]
        done = subprocess.run(command, input=given, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout


def _unpacked(version: str) -> Path:
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    target = CACHE / f"{version}-{tag}"
    if not target.is_dir():
        wheels = CACHE / "wheels"
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        command += ["--dest", str(wheels), f"tensorrt-cu13-bindings=={version}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["pip failed"]
            pytest.skip(f"TensorRT {version}'s bindings are not in {CACHE} and cannot be downloaded: {reason[-1]}")
        (wheel,) = wheels.glob(f"tensorrt_cu13_bindings-{version}-{tag}-*.whl")
        unfinished = target.with_name(f"{target.name}.{os.getpid()}")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(unfinished)
        unfinished.rename(target)
    return target


def _stubs(major: str) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler (cc, gcc) to compile the stub libraries with")
    directory = CACHE / f"stubs-{major}"
    directory.mkdir(parents=True, exist_ok=True)
    for library, functions in _STUBS.items():
        name = f"lib{library}.so.{major}"
        unfinished = directory / f"{name}.{os.getpid()}"
        source = "".join(f"void *{function}(void) {{ return 0; }}\n" for function in functions)
        command = [compiler, "-shared", "-fPIC", f"-Wl,-soname,{name}", "-x", "c", "-", "-o", str(unfinished)]
        subprocess.run(command, input=source, text=True, check=True)
        unfinished.replace(directory / name)
    return directory
