"""Where the launcher's working directory may lie."""

from __future__ import annotations

import os

import pytest

from server.errors import ServerError
from server.triton import workspace
from tests.support.hostile import NAMES


def test_a_plain_directory_is_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(workspace, "_MAX_LENGTH", 1000)
    assert workspace.choose_parent(tmp_path) == tmp_path


@pytest.mark.parametrize("key", [key for key, name in NAMES.items() if name not in ("-rf",)])
def test_one_that_a_shell_would_not_take_literally_is_not(key, tmp_path):
    directory = tmp_path / NAMES[key]
    directory.mkdir()
    assert workspace.choose_parent(directory) == workspace._FALLBACKS[0]


def test_without_a_place_every_reason_is_given(tmp_path, monkeypatch):
    for name in ("a b", "long" * 30, "noexec"):
        (tmp_path / name).mkdir()
    noexec = tmp_path / "noexec"
    real = os.statvfs

    class Mounted:
        f_flag = os.ST_NOEXEC

    monkeypatch.setattr(workspace, "_MAX_LENGTH", 100)
    monkeypatch.setattr(os, "statvfs", lambda path: Mounted if path == noexec else real(path))
    monkeypatch.setattr(workspace, "_FALLBACKS", (tmp_path / ("long" * 30), noexec, tmp_path / "missing"))
    with pytest.raises(ServerError) as error:
        workspace.choose_parent(tmp_path / "a b")
    said = str(error.value)
    for reason in ("does not take literally", "is longer than 100", "is mounted noexec", "cannot be written"):
        assert reason in said
    assert error.value.hint == "name one: TMPDIR=/a/short/path"
