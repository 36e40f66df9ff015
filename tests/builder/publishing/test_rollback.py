"""Going back: to what, to what not, and what is left where it cannot be done."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from builder.__main__ import parser
from builder.errors import BuilderError, ChangedError
from builder.publishing import rollback
from builder.publishing.repository import Repository
from builder.publishing.versions import served_versions
from console import run
from tests.builder.publishing.tiny import builder, model, sizes


def test_a_version_without_its_configuration_keeps_the_one_that_is_there(repository):
    shutil.rmtree(repository.path / "tiny/2/published")
    (repository.path / "tiny/versions.json").unlink()
    found = repository.roll_back("tiny")
    assert not found.own_configuration
    assert (served_versions(repository.path / "tiny"), sizes(repository)) == ([2], (3, 30))
    assert repository.publish(model(b"4")).version == 4


def spoil_provenance(directory: Path, **changes: object) -> None:
    path = directory / "provenance.json"
    content = json.loads(path.read_text()) | changes
    path.unlink()
    path.write_text(json.dumps(content))


REFUSED = {
    "not there": (lambda target: None, 9, "holds no version 9"),
    "made by hand": (lambda target: (target / "8").mkdir(), 8, "it was put there by hand"),
    "provenance cut short": (lambda target: (target / "2/provenance.json").write_text('{"mod'), 2, "cannot be read"),
    "provenance a list": (lambda target: (target / "2/provenance.json").write_text("[]"), 2, "expected an object"),
    "provenance not UTF-8": (lambda target: (target / "2/provenance.json").write_bytes(b"\xff"), 2, "cannot be read"),
    "of another model": (lambda target: spoil_provenance(target / "2", model="other"), 2, "that of 'other' version 2"),
    "of another version": (lambda target: spoil_provenance(target / "2", version=7), 2, "is that of 'tiny' version 7"),
    "a file elsewhere": (lambda target: spoil_provenance(target / "2", file="../3/model.onnx"), 2, "no name of a file"),
    "no hash": (lambda target: spoil_provenance(target / "2", sha256=None), 2, "'sha256' is null"),
    "changed": (lambda target: (target / "2/model.onnx").write_bytes(b"x"), 2, "and d4735e3a265e16eee03f59718b9b5d03"),
    "its file is gone": (lambda target: (target / "2/model.onnx").unlink(), 2, "model.onnx cannot be read"),
    "its configuration is none": (lambda target: (target / "2/published/config.pbtxt").write_text("{"), 2,
                                  "is not a Triton model configuration"),
    "its configuration is gone": (lambda target: (target / "2/published/config.pbtxt").unlink(), 2,
                                  "holds no config.pbtxt"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_gone_back_to_is_one_line_and_the_last_good_version_stays(repository, case):
    spoil, number, said = REFUSED[case]
    spoil(repository.path / "tiny")
    before = {str(path): path.read_bytes() for path in repository.path.rglob("*") if path.is_file()}
    served = served_versions(repository.path / "tiny")
    done = builder("rollback", "tiny", f"--to={number}", f"--repository={repository.path}")
    assert done.returncode == (2 if case in ("changed", "its file is gone") else 1), done.stderr
    assert said in done.stderr.splitlines()[0]
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert before == {str(path): path.read_bytes() for path in repository.path.rglob("*") if path.is_file()}
    assert served_versions(repository.path / "tiny") == served


def test_the_only_version_has_none_before_it(tmp_path):
    Repository(tmp_path / "models").publish(model(b"1"))
    with pytest.raises(BuilderError, match="tiny has version 1 only"):
        Repository(tmp_path / "models").roll_back("tiny")


def test_while_another_build_publishes_a_rollback_is_refused(repository):
    with (repository.path.parent / ".models.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(BuilderError, match="another build is publishing"):
            repository.roll_back("tiny")


def test_a_full_disk_leaves_what_was_served(repository, monkeypatch):
    def full(path: Path, content: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(rollback, "write_atomically", full)
    with pytest.raises(OSError, match="No space left"):
        repository.roll_back("tiny")
    assert served_versions(repository.path / "tiny") == [3]
    assert sorted(entry.name for entry in repository.path.parent.iterdir()) == [".models.lock", "models"]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
@pytest.mark.parametrize("act", ["publish", "roll_back"])
def test_a_repository_that_cannot_be_written_is_said_and_left(repository, monkeypatch, number, act):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), "/somewhere/.models.staging-1")

    monkeypatch.setattr("builder.publishing.repository.tempfile.mkdtemp", refuse)
    with pytest.raises(BuilderError, match=f"{repository.path} cannot be written: {os.strerror(number)}") as error:
        getattr(repository, act)(model(b"4") if act == "publish" else "tiny")
    assert str(repository.path.parent) in error.value.hint
    assert served_versions(repository.path / "tiny") == [3]


NOBODY = 65534


@pytest.mark.parametrize("read_only", ["models", "."], ids=["the repository", "what it lies in"])
def test_a_read_only_repository_is_one_line(repository, read_only, capsys):
    """Root writes anywhere, so it takes another's rights meanwhile; pytest's directories are closed to these."""
    with tempfile.TemporaryDirectory() as directory:
        shutil.copytree(repository.path.parent, directory, dirs_exist_ok=True)
        for path in (Path(directory), *Path(directory).rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
            if not os.geteuid():
                os.chown(path, NOBODY, NOBODY)
        (Path(directory) / read_only).chmod(0o555)
        as_root = not os.geteuid()
        if as_root:
            os.seteuid(NOBODY)
        try:
            code = run(parser(), ["rollback", "tiny", f"--repository={directory}/models"])
        finally:
            if as_root:
                os.seteuid(0)
            (Path(directory) / read_only).chmod(0o755)
        error, hint = capsys.readouterr().err.splitlines()
        assert code == 1
        assert error.startswith(f"error: {directory}/models cannot be written: Permission denied")
        assert hint.startswith("hint: let this user write into it")
        assert served_versions(Path(directory) / "models/tiny") == [3]


def test_no_way_forward_is_named_that_cannot_be_gone(repository):
    """A version that was made by hand is the newest, so Triton serves it; after the way back none leads to it."""
    (repository.path / "tiny/7").mkdir()
    assert served_versions(repository.path / "tiny") == [7]
    done = builder("rollback", "tiny", "--to=2", f"--repository={repository.path}")
    assert (done.returncode, served_versions(repository.path / "tiny")) == (0, [2])
    assert "in place of 7" in done.stderr
    assert "it can be undone: rollback tiny --to 3" in done.stderr
    done = builder("rollback", "tiny", "--to=3", f"--repository={repository.path}")
    assert (done.returncode, served_versions(repository.path / "tiny")) == (0, [3])
    assert "it can be undone" not in done.stderr


def test_a_changed_version_is_refused_as_a_gate(repository):
    (repository.path / "tiny/2/model.onnx").write_bytes(b"x")
    with pytest.raises(ChangedError, match="was published"):
        repository.roll_back("tiny")
