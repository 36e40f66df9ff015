from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from builder.errors import BuilderError
from builder.publishing import exchange, repository
from builder.publishing.repository import Model, Repository

MODEL = Model(
    name="tiny",
    config='name: "tiny"\n',
    files={"labels.txt": b"a\nb\n"},
    version_files={"model.onnx": b"first", "reference.npz": b"r"},
    model_file="model.onnx",
    provenance={"engine": "onnxruntime_onnx"},
)


def with_content(content: bytes) -> Model:
    return replace(MODEL, version_files={**MODEL.version_files, "model.onnx": content})


def tree(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def beside(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.parent.iterdir() if "staging" in entry.name)


def test_first_publication_holds_everything_triton_needs(tmp_path):
    published = Repository(tmp_path / "models").publish(MODEL)
    assert (published.version, published.changed) == (1, True)
    files = tree(tmp_path / "models")
    assert set(files) == {f"tiny/{name}" for name in ("config.pbtxt", "labels.txt", "versions.json")} | {
        f"tiny/1/{name}"
        for name in ("model.onnx", "reference.npz", "provenance.json", "published/config.pbtxt", "published/labels.txt")
    }
    provenance = json.loads(files["tiny/1/provenance.json"])
    assert provenance["sha256"] == "a7937b64b8caa58f03721bb6bacf5c78cb235febe0e70b1b84cd99541461a08e"
    assert beside(tmp_path / "models") == []


def test_configurations_of_places_lie_in_their_folder_and_those_of_another_build_go(tmp_path):
    models = Repository(tmp_path / "models")
    models.publish(replace(MODEL, files={**MODEL.files, "configs/cpu.pbtxt": b"a", "configs/old.pbtxt": b"b"}))
    published = models.publish(replace(MODEL, files={**MODEL.files, "configs/cpu.pbtxt": b"c"}))
    assert (published.version, published.changed) == (1, False), "a configuration is not another model"
    assert {name: data for name, data in tree(tmp_path / "models/tiny").items() if name.startswith("configs")} == {
        "configs/cpu.pbtxt": b"c"
    }


def test_a_new_model_is_the_next_version_and_the_previous_one_stays(tmp_path):
    models = Repository(tmp_path / "models")
    for content in (b"first", b"second", b"third"):
        models.publish(with_content(content))
    files = tree(tmp_path / "models" / "tiny")
    assert {name: data for name, data in files.items() if name.endswith("model.onnx")} == {
        "2/model.onnx": b"second",
        "3/model.onnx": b"third",
    }


def test_an_unchanged_model_keeps_its_version_but_takes_a_new_configuration(tmp_path):
    models = Repository(tmp_path / "models")
    models.publish(MODEL)
    published = models.publish(replace(MODEL, config='name: "tiny"\nmax_batch_size: 8\n'))
    assert (published.version, published.changed) == (1, False)
    assert "max_batch_size" in (tmp_path / "models/tiny/config.pbtxt").read_text()


def test_a_full_disk_leaves_the_last_good_version(tmp_path, monkeypatch):
    models = Repository(tmp_path / "models")
    models.publish(MODEL)
    before = tree(tmp_path / "models")
    real = repository.write_atomically

    def full(path: Path, content: bytes | str) -> None:
        if path.name == "config.pbtxt":  # the last file of all
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        real(path, content)

    monkeypatch.setattr(repository, "write_atomically", full)
    with pytest.raises(OSError, match="No space left"):
        models.publish(with_content(b"second"))
    assert tree(tmp_path / "models") == before
    assert beside(tmp_path / "models") == []


KILLED_MIDWAY = """
import os, signal, sys
sys.path.insert(0, {root!r})
from pathlib import Path
from builder.publishing import exchange, repository
from tests.builder.publishing.test_repository import with_content
if {moment!r} == "before":
    repository.put_in_place = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
else:
    real = repository.put_in_place
    repository.put_in_place = lambda *paths: (real(*paths), os.kill(os.getpid(), signal.SIGKILL))
repository.Repository(Path({path!r})).publish(with_content(b"second"))
"""


@pytest.mark.parametrize(("moment", "served"), [("before", b"first"), ("after", b"second")])
def test_a_build_killed_at_the_exchange_leaves_one_whole_model(tmp_path, moment, served):
    path = tmp_path / "models"
    Repository(path).publish(MODEL)
    script = KILLED_MIDWAY.format(root=str(Path(__file__).parents[3]), moment=moment, path=str(path))
    result = subprocess.run([sys.executable, "-c", script], check=False)
    assert result.returncode == -signal.SIGKILL
    newest = max((path / "tiny").glob("[0-9]*"))
    assert (newest / "model.onnx").read_bytes() == served
    assert (path / "tiny" / "config.pbtxt").is_file()
    assert [entry.name for entry in path.iterdir() if entry.is_dir()] == ["tiny"], "Triton takes any other for a model"
    Repository(path).publish(with_content(b"third"))
    assert beside(path) == [], "the next build removes what the killed one left"


def test_two_builds_at_once_are_told_apart(tmp_path):
    path = tmp_path / "models"
    path.mkdir()
    with (tmp_path / ".models.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(BuilderError, match="another build"):
            Repository(path).publish(MODEL)


def test_a_file_system_without_exchange_still_publishes(tmp_path, monkeypatch):
    models = Repository(tmp_path / "models")
    models.publish(MODEL)
    monkeypatch.setattr(exchange.ctypes, "CDLL", lambda *_args, **_kwargs: object())
    assert models.publish(with_content(b"second")).version == 2
    assert (tmp_path / "models/tiny/2/model.onnx").read_bytes() == b"second"
    assert beside(tmp_path / "models") == []


def test_a_repository_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "models").write_text("")
    with pytest.raises(BuilderError, match="not a directory"):
        Repository(tmp_path / "models")
