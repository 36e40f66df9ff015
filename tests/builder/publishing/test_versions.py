"""Versions: numbers, what is served, configurations that travel with them, listing; and what is refused."""

from __future__ import annotations

import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from builder.errors import BuilderError
from builder.publishing.repository import Repository
from builder.publishing.versions import misread, published_versions, served_versions
from console.triton_configuration import parse
from tests.builder.publishing.tiny import builder, model, sizes
from tests.support.triton import ROOT


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


def test_what_triton_does_not_take_for_a_version_is_none(repository):
    target = repository.path / "tiny"
    for name in ("²", "03", "3rd", "+3", "notes", str(2**63), "9" * 30, "-1"):
        (target / name).mkdir()
    (target / "7").write_text("a file")
    assert published_versions(target) == [2, 3]
    assert misread(target) == sorted(["+3", "-1", "3rd", str(2**63), "9" * 30])
    assert repository.publish(model(b"4")).version == 4


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


def test_a_model_in_both_repositories_is_refused(repository):
    Repository(repository.path.with_name("models_rtx")).publish(model(b"1"))
    done = builder("rollback", "tiny", f"--repository={repository.path}")
    assert done.returncode == 1
    assert "both exist" in done.stderr


LOOP = """
import itertools, sys
from builder.publishing.repository import Repository
from tests.builder.publishing.tiny import model
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
