from __future__ import annotations

from pathlib import Path

import pytest

from console.tensorrt_rtx import BY_COMPUTE_CAPABILITY, NEWEST, beside, requirements, version_directory, version_for


def test_the_h100_alone_gets_another_version():
    assert set(BY_COMPUTE_CAPABILITY) == {"9.0"}
    assert version_for("9.0") == "1.6.1.120"
    assert {version_for(capability) for capability in ("7.5", "8.0", "8.6", "8.9", "12.0", None)} == {NEWEST}


def test_library_and_module_are_installed_in_one_version():
    assert {requirement.partition("==")[2] for requirement in requirements(NEWEST)} == {NEWEST}
    assert len(requirements(NEWEST)) == 2


@pytest.mark.parametrize("given", ["model_repository", "model_repository/", "./model_repository"])
def test_the_other_repository_lies_beside(given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert beside(Path(given)) == tmp_path / "model_repository_rtx"


def test_a_model_is_found_in_either_repository_and_first_in_the_one_named(tmp_path):
    repository = tmp_path / "models"
    for place in (repository / "a" / "1", beside(repository) / "a" / "1", beside(repository) / "b" / "2"):
        place.mkdir(parents=True)
    assert version_directory(repository, "a", "1") == repository / "a" / "1"
    assert version_directory(repository, "b", "2") == beside(repository) / "b" / "2"
    assert version_directory(repository, "c", "1") == repository / "c" / "1"
