from __future__ import annotations

import io
import pickle

import numpy as np
import pytest

from console.files import mistaken_for


def archive() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.zeros(3))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html></html>", "HTML page"),
        (b"\n\n  <html lang=en>", "HTML page"),
        (b"\xef\xbb\xbf<!doctype html>", "HTML page"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "XML document"),
        (archive(), "ZIP archive"),
        (pickle.dumps({"a": 1}), "pickle"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"PAR1\x15\x04", "Parquet"),
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"", "empty"),
        (b"\x08\x0a\x12\x07pytorch", ""),
    ],
)
def test_a_file_that_is_something_else_is_called_by_its_name(tmp_path, content, what):
    path = tmp_path / "file"
    path.write_bytes(content)
    found, _ = mistaken_for(path)
    assert what in found
    assert bool(what) is bool(found)


def test_a_file_that_cannot_be_read_tells_nothing(tmp_path):
    assert mistaken_for(tmp_path / "missing") == ("", "")
