"""Versions: numbers, what is served, going back, checking, listing; and what is refused."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from builder.errors import BuilderError, ChangedError
from builder.publishing import rollback
from builder.publishing.repository import Model, Repository
from builder.publishing.versions import misread, published_versions, served_versions
from console.triton_configuration import parse
from tests.support import models

ROOT = Path(__file__).parents[3]
CONFIG = 'name: "tiny"\nversion_policy { latest { num_versions: 1 } }\nmax_batch_size: %d\n'


def model(content: bytes, size: int = 4, **changes: object) -> Model:
    base = Model(
        name="tiny",
        config=CONFIG % size,
        files={"labels.txt": b"a\nb\n", "configs/cpu.pbtxt": (CONFIG % (10 * size)).encode()},
        version_files={"model.onnx": content},
        model_file="model.onnx",
        provenance={"built": "2026-11-26T09:01:20+00:00"},
    )
    return replace(base, **changes)


@pytest.fixture
def repository(tmp_path):
    """Three versions with configurations of their own; 2 and 3 are on the disk."""
    found = Repository(tmp_path / "models")
    for number in (1, 2, 3):
        found.publish(model(b"%d" % number, number))
    return found


def builder(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "builder", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120, **options)


def sizes(repository: Repository) -> tuple[int, int]:
    """max_batch_size of config.pbtxt and of configs/cpu.pbtxt."""
    files = (repository.path / "tiny" / name for name in ("config.pbtxt", "configs/cpu.pbtxt"))
    one, other = (parse(file.read_text()).max_batch_size for file in files)
    return one, other


def test_configurations_travel_with_their_version_and_a_rollback_can_be_undone(repository):
    target = repository.path / "tiny"
    assert (served_versions(target), sizes(repository)) == ([3], (3, 30))
    assert repository.roll_back("tiny").version == 2
    assert (served_versions(target), sizes(repository)) == ([2], (2, 20))
    assert parse((target / "configs/cpu.pbtxt").read_text()).version_policy.specific.versions == [2]
    assert published_versions(target) == [2, 3], "the later one stays"
    assert repository.roll_back("tiny", 3).version == 3
    assert (served_versions(target), sizes(repository)) == ([3], (3, 30))
    assert not repository.roll_back("tiny", 3).changed


def test_a_number_is_never_used_twice(repository):
    target = repository.path / "tiny"
    shutil.rmtree(target / "3")
    assert repository.publish(model(b"4")).version == 4
    for number in (2, 4):
        shutil.rmtree(target / str(number), ignore_errors=True)
    assert repository.publish(model(b"5")).version == 5


def test_after_a_rollback_the_next_version_is_served_as_the_newest_and_the_one_served_until_then_stays(repository):
    repository.roll_back("tiny", 2)
    published = repository.publish(model(b"4"))
    target = repository.path / "tiny"
    assert (published.version, served_versions(target)) == (4, [4])
    assert parse((target / "config.pbtxt").read_text()).version_policy.HasField("latest")
    assert published_versions(target) == [2, 4], "3 was not served"


def test_building_a_version_that_lies_there_returns_to_it(repository):
    repository.roll_back("tiny", 2)
    published = repository.publish(model(b"3", 3))
    assert (published.version, published.changed, published.returned) == (3, False, True)
    assert served_versions(repository.path / "tiny") == [3]
    published = repository.publish(model(b"2", 2))
    assert (published.version, served_versions(repository.path / "tiny")) == (2, [2])
    assert published_versions(repository.path / "tiny") == [2, 3]


@pytest.mark.parametrize(("keep", "left"), [(1, [5, 6]), (2, [5, 6]), (3, [4, 5, 6]), (9, [2, 3, 4, 5, 6])])
def test_so_many_versions_stay(repository, keep, left):
    many = Repository(repository.path, keep=9)
    for content in (b"4", b"5"):
        many.publish(model(content))
    Repository(repository.path, keep=keep).publish(model(b"6"))
    assert published_versions(repository.path / "tiny") == left


@pytest.mark.parametrize(("keep", "serve"), [(2, 3), (1, 2)])
def test_fewer_versions_than_are_served_cannot_stay(tmp_path, keep, serve):
    with pytest.raises(BuilderError, match="--keep"):
        Repository(tmp_path / "models", keep, serve)


def test_a_version_without_its_configuration_keeps_the_one_that_is_there(repository):
    shutil.rmtree(repository.path / "tiny/2/published")
    (repository.path / "tiny/versions.json").unlink()
    found = repository.roll_back("tiny")
    assert not found.own_configuration
    assert (served_versions(repository.path / "tiny"), sizes(repository)) == ([2], (3, 30))
    assert repository.publish(model(b"4")).version == 4


def test_what_triton_does_not_take_for_a_version_is_none(repository):
    target = repository.path / "tiny"
    for name in ("²", "03", "3rd", "+3", "notes", str(2**63), "9" * 30, "-1"):
        (target / name).mkdir()
    (target / "7").write_text("a file")
    assert published_versions(target) == [2, 3]
    assert misread(target) == sorted(["+3", "-1", "3rd", str(2**63), "9" * 30])
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


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rollback", "tony"], "no model 'tony'"),
        (["rollback", "../models/tiny"], "no model '../models/tiny'"),
        (["rollback", "."], "no model '.'"),
        (["versions", "tiny", "tony"], "no model 'tony'"),
        (["verify", "naïve model"], "no model 'naïve model'"),
        (["rollback", "tiny", "--to=two"], "argument --to: expected a whole number of 0 or more, found 'two'"),
        (["build", "--keep=0"], "argument --keep: expected a whole number of 1 to 2147483647, found '0'"),
        (["build", "--serve=0"], "argument --serve: expected a whole number of 1 to 2147483647, found '0'"),
        (["build", "--serve=3"], "--serve 3 needs as many versions; --keep 2 leaves fewer"),
    ],
)
def test_bad_arguments_are_one_line(repository, arguments, said):
    done = builder(*arguments, f"--repository={repository.path}")
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_repository_that_is_none_is_one_line(tmp_path):
    for command in (["versions"], ["verify"], ["rollback", "tiny"]):
        done = builder(*command, f"--repository={tmp_path / 'nowhere'}")
        assert (done.returncode, done.stderr.count("error: ")) == (1, 1), done.stderr


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


def test_a_configuration_that_is_none_is_refused_where_its_version_is_not_the_newest(repository):
    with pytest.raises(BuilderError, match="is not a Triton model configuration"):
        repository.publish(model(b"2", config="{"))
    assert served_versions(repository.path / "tiny") == [3]


def test_the_repository_beside_is_looked_at_too(repository):
    Repository(repository.path.with_name("models_rtx")).publish(model(b"1", name="plan"))
    assert "plan" in builder("versions", f"--repository={repository.path}").stderr.splitlines()
    done = builder("rollback", "plan", f"--repository={repository.path}")
    assert "plan has version 1 only" in done.stderr


@pytest.mark.parametrize("content", ["", "{", "[]", '{"highest": "3"}', '{"highest": -1}', '{"highest": true}'])
def test_a_damaged_record_of_numbers_stops_a_build_and_not_a_list(repository, content):
    (repository.path / "tiny/versions.json").write_text(content)
    with pytest.raises(BuilderError, match="does not say which version numbers were used"):
        repository.publish(model(b"4"))
    done = builder("versions", f"--repository={repository.path}")
    assert done.returncode == 0
    assert "warning: " in done.stderr
    assert served_versions(repository.path / "tiny") == [3]


def test_the_list_says_what_is_served_and_what_is_wrong(repository):
    target = repository.path / "tiny"
    repository.roll_back("tiny", 2)
    (target / "8").mkdir()
    (target / "3/model.onnx").write_bytes(b"other")
    lines = builder("versions", f"--repository={repository.path}").stderr.splitlines()
    rows = {words[0]: words for words in map(str.split, lines) if words and words[0].isdigit()}
    assert rows["2"][1:3] == ["yes", "ok"]
    assert rows["3"][1:3] == ["no", "changed"]
    assert rows["8"][1:4] == ["no", "no", "provenance"]
    assert any("rolled back: requests that name no version are answered by 2" in line for line in lines)


def test_the_commands_need_no_torch(repository):
    script = (
        "import sys; from builder.__main__ import parser; from console import run\n"
        f"for words in (['versions'], ['verify', '--no-answers'], ['rollback', 'tiny']):\n"
        f"    assert run(parser(), [*words, '--repository={repository.path}']) == 0\n"
        "assert not {'torch', 'onnxruntime', 'onnx'} & set(sys.modules), 'a second and more'\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


CHANGES = {
    "the file": (lambda target: (target / "3/model.onnx").write_bytes(b"other"), "version 3: model.onnx has SHA-256"),
    "an older version": (lambda target: (target / "2/model.onnx").write_bytes(b"other"), "version 2: model.onnx has"),
    "the configuration": (lambda target: (target / "config.pbtxt").write_text(CONFIG % 77), "config.pbtxt is not as"),
    "a place's": (lambda target: (target / "configs/cpu.pbtxt").write_text(CONFIG % 77), "configs/cpu.pbtxt is not as"),
    "a place's is gone": (lambda target: (target / "configs/cpu.pbtxt").unlink(), "it is not there"),
    "a place's of their own": (lambda target: (target / "configs/x.pbtxt").write_text(CONFIG % 3), "was not published"),
    "no configuration": (lambda target: (target / "config.pbtxt").write_text("{"), "is not a Triton model"),
    "the labels": (lambda target: (target / "labels.txt").write_bytes(b"b\na\n"), "labels.txt is not as published"),
    "a version of their own": (lambda target: (target / "9").mkdir(), "version 9: it has no provenance.json"),
    "a name that Triton misreads": (lambda target: (target / "3rd").mkdir(), "takes the directory '3rd' for a version"),
    "the record cut short": (lambda target: (target / "versions.json").write_text("{"), "which version numbers were"),
    "the record too low": (lambda target: (target / "versions.json").write_text('{"highest": 2}'), "2 was the highest"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_what_was_changed_by_hand_is_found(repository, case):
    change, said = CHANGES[case]
    assert builder("verify", "--no-answers", f"--repository={repository.path}").returncode == 0
    change(repository.path / "tiny")
    done = builder("verify", "--no-answers", f"--repository={repository.path}")
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_going_back_is_no_change_by_hand(repository):
    repository.roll_back("tiny")
    assert builder("verify", "--no-answers", f"--repository={repository.path}").returncode == 0


@pytest.fixture(scope="module")
def answering(tmp_path_factory):
    """A real ONNX model with its reference answers, published."""
    path = tmp_path_factory.mktemp("answering")
    models.add_classifier(path / "made", "made")
    content = next((path / "made").rglob("model.onnx")).read_bytes()
    images = np.random.default_rng(0).integers(0, 256, (70, 32, 32, 3), np.uint8)
    logits = np.eye(10, dtype=np.float32)[images[:, 0, 0, 0] % 10]
    return path, content, images, logits


@pytest.mark.parametrize(("shift", "code"), [(0, 0), (1, 2)], ids=["right", "of other images"])
def test_reference_images_are_answered_anew(answering, tmp_path, shift, code):
    _, content, images, logits = answering
    path = tmp_path / "reference.npz"
    np.savez_compressed(path, images=images, logits=np.roll(logits, shift, axis=0), max_relative_difference=1e-3,
                        min_top1_agreement=1.0, model_sha256=hashlib.sha256(content).hexdigest())  # fmt: skip
    files = {"model.onnx": content, "reference.npz": path.read_bytes()}
    Repository(tmp_path / "models").publish(model(content, version_files=files))
    done = builder("verify", f"--repository={tmp_path / 'models'}")
    assert done.returncode == code, done.stderr
    assert ("answers otherwise than PyTorch did" if code else "answers as it did") in done.stderr


REFERENCES = {
    "none": (None, 0, "there is no reference.npz"),
    "an older builder's": ({}, 0, "without limits"),
    "a limit missing": ({"min_top1_agreement": 1.0}, 2, "holds no array 'max_relative_difference'"),
    "another model's": ({"max_relative_difference": 1.0, "min_top1_agreement": 1.0, "model_sha256": "0"}, 2, "another"),
    "no archive": (b"x", 2, "cannot be read"),
    "cut short": (b"PK\x03\x04", 2, "cannot be read"),
}


@pytest.mark.parametrize("case", REFERENCES)
def test_reference_answers_that_cannot_be_used(answering, tmp_path, case):
    given, code, said = REFERENCES[case]
    _, content, images, logits = answering
    files = {"model.onnx": content}
    if isinstance(given, dict):
        np.savez_compressed(tmp_path / "a.npz", images=images, logits=logits, **given)
        files["reference.npz"] = (tmp_path / "a.npz").read_bytes()
    elif given is not None:
        files["reference.npz"] = given
    Repository(tmp_path / "models").publish(model(content, version_files=files))
    done = builder("verify", f"--repository={tmp_path / 'models'}")
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_named_pipe_is_not_waited_for(answering, tmp_path):
    Repository(tmp_path / "models").publish(model(answering[1]))
    os.mkfifo(tmp_path / "models/tiny/1/reference.npz")
    done = builder("verify", f"--repository={tmp_path / 'models'}")
    assert done.returncode == 2
    assert "it is no file" in done.stderr


def test_a_model_in_both_repositories_is_refused(repository):
    Repository(repository.path.with_name("models_rtx")).publish(model(b"1"))
    done = builder("rollback", "tiny", f"--repository={repository.path}")
    assert done.returncode == 1
    assert "both exist" in done.stderr


LOOP = """
import itertools, sys
from builder.publishing.repository import Repository
from tests.builder.publishing.test_versions import model
repository = Repository(__import__("pathlib").Path(sys.argv[1]))
print("ready", flush=True)
for number in itertools.count(int(sys.argv[2])):
    repository.publish(model(b"%d" % number, number % 50 + 1))
    repository.roll_back("tiny")
"""


def test_killed_at_any_moment_a_servable_repository_is_left(repository):
    seed = random.randrange(2**32)
    logging.getLogger(__name__).warning("seed %d", seed)  # shown where the test fails
    moments = random.Random(seed)
    target = repository.path / "tiny"
    for start in (10_000, 20_000, 30_000, 40_000, 50_000, 60_000):
        loop = subprocess.Popen(
            [sys.executable, "-c", LOOP, str(repository.path), str(start)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert loop.stdout.readline() == "ready\n"
        time.sleep(moments.uniform(0, 0.3))
        os.kill(loop.pid, signal.SIGKILL)
        loop.wait()
        (served,) = served_versions(target)
        assert (target / str(served) / "model.onnx").is_file()
        assert builder("verify", "--no-answers", f"--repository={repository.path}").returncode == 0
    repository.publish(model(b"last"))
    assert sorted(entry.name for entry in repository.path.parent.iterdir()) == [".models.lock", "models"]
    assert served_versions(target) == published_versions(target)[-1:]


def test_a_changed_version_is_refused_as_a_gate(repository):
    (repository.path / "tiny/2/model.onnx").write_bytes(b"x")
    with pytest.raises(ChangedError, match="was published"):
        repository.roll_back("tiny")
