"""A directory that this user may not look into hides none of the models beside it."""

from __future__ import annotations

import logging

import pytest

from builder.publishing import inspection, versions
from builder.publishing.inspection import inspect_all
from builder.publishing.listing import list_versions
from builder.publishing.repository import Repository
from builder.publishing.verifying import verify
from builder.tensorrt.availability import serving
from tests.builder.publishing.tiny import model


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Holds "aside", which the system is made to refuse (root may enter everything), and "tiny"."""
    path = tmp_path / "repository"
    Repository(path).publish(model(b"1"))
    (path / "aside").mkdir()

    def refusing(function):
        def refused(directory):
            if directory.name == "aside":
                raise PermissionError(13, "Permission denied", str(directory))
            return function(directory)

        return refused

    for module, name in ((versions, "_folders"), (versions, "config_files"), (inspection, "config_files")):
        monkeypatch.setattr(module, name, refusing(getattr(module, name)))
    return path


def said_of(caplog, call):
    with caplog.at_level(logging.INFO):
        code = call()
    return code, [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize(
    ("call", "code", "of_the_other"),
    [
        (lambda path: list_versions(path, []), None, "1        yes"),
        (lambda path: verify(path, [], answers=False), 2, "tiny version 1: as published"),
        (lambda path: inspect_all(path, serving("26.08")), 1, "tiny"),
    ],
    ids=["versions", "verify", "inspect"],
)
def test_it_is_said_and_the_others_are_looked_at(repository, caplog, call, code, of_the_other):
    found, lines = said_of(caplog, lambda: call(repository))
    assert found == code
    (line,) = [line for line in lines if "cannot be looked into" in line]
    assert f"Permission denied ({repository / 'aside'}); let this user read and enter it" in line
    assert any(of_the_other in line for line in lines), lines


def test_a_build_has_nothing_on_record_of_what_it_may_not_read(repository):
    assert Repository(repository).provenance_of("aside", "model.onnx", b"1") == {}
    assert Repository(repository).provenance_of("tiny", "model.onnx", b"1")["version"] == 1
    assert Repository(repository).provenance_of("tiny", "model.onnx", b"2") == {}
