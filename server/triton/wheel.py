"""The parts of `nvidia-pytriton`'s wheel that the embedded server needs, and whether this machine can run them."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from server.errors import ServerError

MIN_GLIBC = (2, 35)
"""What the wheel's tritonserver is linked against."""


@dataclass(frozen=True)
class Wheel:
    """Where the wheel's parts lie.

    Attributes:
        tritonserver: the server's binary.
        python_backend: the directory with the shared library and the Python half of Triton's Python backend.
        stub: the process that runs a Python model, for this interpreter's version.
        libraries: the shared libraries that the wheel brings.
        libpython: this interpreter's shared library; the stub links it under the name `libpython<X.Y>.so.1.0`.
    """

    tritonserver: Path
    python_backend: Path
    stub: Path
    libraries: Path
    libpython: Path

    @property
    def libpython_name(self) -> str:
        """The name under which the stub looks for `libpython`."""
        return f"libpython{_python_version()}.so.1.0"


def find_wheel() -> Wheel:
    """Find the wheel in this interpreter's environment.

    Raises:
        ServerError: the wheel, the stub for this Python, or this Python's shared library is missing.
    """
    spec = importlib.util.find_spec("pytriton")
    if spec is None or spec.origin is None:
        raise ServerError(f"nvidia-pytriton is not installed for {sys.executable}", "make setup installs it")
    root = Path(spec.origin).parent / "tritonserver"
    stubs = root / "python_backend_stubs"
    version = _python_version()
    stub = stubs / version / "triton_python_backend_stub"
    if not stub.is_file():
        there = sorted((path.name for path in stubs.glob("3.*")), key=lambda name: int(name.split(".")[1]))
        raise ServerError(
            f"nvidia-pytriton has no Python backend for Python {version}; it has {', '.join(there) or 'none'}",
            "make the environment with another one: make SERVER_PYTHON=python3.12 setup",
        )
    libraries = root.parent.parent / "nvidia_pytriton.libs"
    return Wheel(root / "bin/tritonserver", root / "backends/python", stub, libraries, _libpython(libraries))


def check_machine() -> None:
    """Check everything outside the wheel that the server needs.

    Raises:
        ServerError: another system or processor, an old C library, a package missing, or numpy 2.
    """
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise ServerError(
            f"the embedded Triton runs on Linux x86-64; this is {platform.system()} {platform.machine()}",
            "use NVIDIA's container: make serve",
        )
    name, version = platform.libc_ver()
    if name != "glibc" or tuple(int(part) for part in version.split(".")[:2]) < MIN_GLIBC:
        raise ServerError(
            f"the embedded Triton needs glibc 2.35 or newer; this system has {name or 'another C library'} {version}",
            "use NVIDIA's container: make serve",
        )
    _check_packages()


def _check_packages() -> None:
    needed = {
        "numpy": ("numpy",),
        "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
        "tritonclient": ("tritonclient",),
    }
    for package, distributions in needed.items():
        version = next(filter(None, map(_version, distributions)), None)
        if version is None:
            raise ServerError(f"{package} is not installed for {sys.executable}", "make setup installs it")
        if package == "numpy" and int(version.split(".")[0]) >= 2:
            raise ServerError(
                f"numpy {version} in {sys.prefix}: Triton 2.51's Python backend needs numpy below 2; with numpy 2 "
                "every output would arrive empty, without an error",
                "make the environment again: rm -r .venv-server && make setup",
            )


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _libpython(libraries: Path) -> Path:
    version = _python_version()
    name = f"libpython{version}.so.1.0"
    directories = [sysconfig.get_config_var("LIBDIR"), "/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/local/lib"]
    for directory in filter(None, directories):
        if (path := Path(directory) / name).is_file():
            return path
    bundled = sorted(libraries.glob(f"libpython3-*.{version.split('.')[1]}.so.1.0"))  # of one version only: 3.13
    if bundled:
        return bundled[0]
    raise ServerError(
        f"{name} was not found: Triton's Python backend loads it",
        f"on Debian and Ubuntu: apt install libpython{version}",
    )


def _python_version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"
