"""Kernels kept from one start to the next: whole or not at all, and never those of another plan, library or GPU."""

from __future__ import annotations

import os

import pytest

from tests.support.fake_gpu import FakeGpu


class Compiled:
    """An `IRuntimeCache`: what is deserialized, and what is compiled after."""

    def __init__(self) -> None:
        self.content = b""

    def deserialize(self, content: bytes) -> bool:
        self.content = content if content.startswith(b"kernels") else b""
        return bool(self.content)

    def serialize(self) -> bytes:
        return self.content or b"kernels"


class Settings:
    """An `IRuntimeConfig`."""

    def __init__(self) -> None:
        self.used = None

    def create_runtime_cache(self) -> Compiled:
        return Compiled()

    def set_runtime_cache(self, cache: Compiled) -> None:
        self.used = cache


@pytest.fixture
def start(backend, tmp_path, monkeypatch):
    """One start of an instance: returns what the cache says and what was in it at the beginning."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    plan = tmp_path / "model.plan"
    plan.write_bytes(b"a plan")

    def start(config=None, version="TensorRT for RTX 1.6.1", name="a GPU"):
        gpu = FakeGpu()
        gpu.name = name
        cache = backend("runtime_cache").RuntimeCache(config or {}, plan, version, gpu)
        settings = Settings()
        cache.use(settings)
        found = settings.used.content if settings.used else None
        return cache.save(), found

    return start


def files(tmp_path) -> list:
    return sorted(path for path in (tmp_path / "cache").rglob("*") if path.is_file())


def test_the_second_start_finds_the_kernels_of_the_first(start, tmp_path):
    said, found = start()
    assert "were compiled and kept in" in said
    assert found == b""
    said, found = start()
    assert "its kernels came from" in said
    assert found == b"kernels"
    assert len(files(tmp_path)) == 1


@pytest.mark.parametrize("other", [{"version": "TensorRT for RTX 1.7.1"}, {"name": "another GPU"}])
def test_kernels_of_another_library_or_gpu_are_not_used(start, tmp_path, other):
    start()
    assert start(**other)[1] == b""
    assert len(files(tmp_path)) == 2


@pytest.mark.parametrize("content", [b"", b"damaged", b"\0" * 1000])
def test_a_damaged_file_is_replaced(start, tmp_path, content):
    start()
    (path,) = files(tmp_path)
    path.write_bytes(content)
    assert "were compiled and kept" in start()[0]
    assert path.read_bytes() == b"kernels"


def test_it_can_be_switched_off(start, tmp_path):
    off = {"parameters": {"runtime_cache": {"string_value": "off"}}}
    assert start(off) == ("", None)
    assert files(tmp_path) == []


def test_a_directory_that_cannot_be_written_is_said_and_stops_nothing(start, tmp_path):
    (tmp_path / "cache").write_text("a file")
    assert "will be again at the next start" in start()[0]


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_directory_is_said(start, tmp_path):
    (tmp_path / "cache").mkdir(mode=0o500)
    assert "will be again at the next start" in start()[0]
