"""Every way the machine may lack something, each with its own words."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from collections import namedtuple

import pytest

from server.errors import ServerError
from server.triton import wheel

Version = namedtuple("Version", "major minor")


@pytest.fixture
def fake_wheel(tmp_path, monkeypatch):
    """The layout of the real wheel, for an interpreter that has one stub."""
    package = tmp_path / "site-packages/pytriton"
    stub = package / "tritonserver/python_backend_stubs/3.12/triton_python_backend_stub"
    stub.parent.mkdir(parents=True)
    stub.touch()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(package.parent)
    return package


def test_the_wheel_is_missing(monkeypatch):
    monkeypatch.setattr(wheel.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ServerError, match="nvidia-pytriton is not installed"):
        wheel.find_wheel()


def test_no_stub_for_this_python_lists_those_there_are(fake_wheel, monkeypatch):
    monkeypatch.setattr(sys, "version_info", Version(3, 99))
    with pytest.raises(ServerError, match=r"no Python backend for Python 3\.99; it has 3\.12"):
        wheel.find_wheel()


def test_libpython_is_missing(fake_wheel, monkeypatch):
    monkeypatch.setattr(sys, "version_info", Version(3, 12))
    monkeypatch.setattr(wheel.Path, "is_file", lambda path: "libpython" not in path.name)
    with pytest.raises(ServerError, match=r"libpython3\.12\.so\.1\.0 was not found") as error:
        wheel.find_wheel()
    assert "apt install libpython3.12" in error.value.hint


@pytest.mark.parametrize(
    ("package", "version", "said"),
    [
        ("numpy", "2.2.6", "needs numpy below 2"),
        ("numpy", None, "numpy is not installed"),
        ("onnxruntime", None, "onnxruntime is not installed"),
        ("tritonclient", None, "tritonclient is not installed"),
    ],
)
def test_wrong_packages(monkeypatch, package, version, said):
    def found(name):
        if name.removesuffix("-gpu") != package:
            return "1.26.4"
        if version is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(importlib.metadata, "version", found)
    with pytest.raises(ServerError, match=said):
        wheel.check_machine()


def test_onnx_runtime_for_gpus_is_onnx_runtime_too(monkeypatch):
    def found(name):
        if name == "onnxruntime":
            raise importlib.metadata.PackageNotFoundError(name)
        return "1.26.4"

    monkeypatch.setattr(importlib.metadata, "version", found)
    wheel.check_machine()


@pytest.mark.parametrize(
    ("target", "name", "value", "said"),
    [
        (platform, "system", "Darwin", "runs on Linux x86-64; this is Darwin"),
        (platform, "machine", "aarch64", "this is Linux aarch64"),
        (platform, "libc_ver", ("glibc", "2.31"), "needs glibc 2.35 or newer; this system has glibc 2.31"),
        (platform, "libc_ver", ("", ""), "this system has another C library"),
    ],
)
def test_wrong_machine(monkeypatch, target, name, value, said):
    monkeypatch.setattr(target, name, lambda *_: value)
    with pytest.raises(ServerError, match=said):
        wheel.check_machine()
