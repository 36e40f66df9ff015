"""Learning from a teacher: which teachers are taken, that they are listened to, and that interruptions cost nothing."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from builder.errors import BuilderError, TrainingError
from builder.network import checkpoint
from builder.network.resnet import Stem, resnet18
from builder.training import run, teaching
from builder.training.distillation import imitation, load_teacher
from builder.training.loop import Trainer
from builder.training.recipes import RECIPES
from builder.training.teaching import taught
from cifar10 import Split
from tests.builder.conftest import make_metadata
from tests.builder.training.test_training import RECIPE, dataset, make_run

STUDENT = dataclasses.replace(
    RECIPE, name="student", epochs=2, distillation=0.8, temperature=2.0, teacher_recipe="teacher"
)


def write_teacher(path, *, width=1, classes=10, **metadata):
    torch.manual_seed(5)
    state = resnet18(Stem.IMAGENET, width=width, classes=classes).state_dict()
    checkpoint.save(path, state, dataclasses.replace(make_metadata(Stem.IMAGENET), width=width, **metadata))
    return path


@pytest.fixture(scope="module")
def teacher_file(tmp_path_factory):
    return write_teacher(tmp_path_factory.mktemp("teacher") / "teacher.safetensors", dataset_sha256="1" * 64)


def loaded(path, recipe=STUDENT, train=None, test=None):
    train, test = train or dataset(128, Split.TRAIN), test or dataset(50, Split.TEST)
    return load_teacher(path, recipe, train, test, compiled=False)


def test_a_file_that_is_no_teacher_is_refused(tmp_path):
    other_classes = write_teacher(tmp_path / "classes.safetensors", classes=7)
    foreign = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(3)}, foreign)
    whole = write_teacher(tmp_path / "whole.safetensors")
    truncated = tmp_path / "truncated.safetensors"
    truncated.write_bytes(whole.read_bytes()[:1000])
    for path, said in {
        tmp_path / "missing.safetensors": "no checkpoint at",
        tmp_path: "no checkpoint at",
        other_classes: "the weights are not those of a resnet18",
        foreign: "expected architecture 'resnet18'",
        truncated: "is not a readable safetensors file",
    }.items():
        with pytest.raises(BuilderError, match=said):
            loaded(path)


def test_recipe_and_command_must_agree_on_a_teacher(teacher_file):
    with pytest.raises(TrainingError, match=r"learns from a teacher with weight .*, and none is named"):
        loaded(None)
    with pytest.raises(TrainingError, match="gives a teacher no weight"):
        loaded(teacher_file, RECIPE)
    assert loaded(None, RECIPE) is None


@pytest.mark.parametrize(
    ("learnt", "train_images", "split", "accepted"),
    [
        ("0" * 64, 50, Split.TEST, False),  # from the test images' file
        ("0" * 64, None, Split.TEST, False),
        ("1" * 64, 50_000, Split.TEST, True),  # from all training images, tested on others
        ("1" * 64, 128, Split.TRAIN, True),  # tested on held-out training images: from those that are not
        ("1" * 64, 129, Split.TRAIN, False),
        ("1" * 64, None, Split.TRAIN, False),
        ("2" * 64, None, Split.TRAIN, True),
    ],
)
def test_a_teacher_that_knows_the_test_images_is_refused(tmp_path, learnt, train_images, split, accepted):
    path = write_teacher(tmp_path / "teacher.safetensors", dataset_sha256=learnt, train_images=train_images)
    if accepted:
        assert loaded(path, test=dataset(50, split)) is not None
    else:
        with pytest.raises(TrainingError, match="has learnt from images that this run is tested on"):
            loaded(path, test=dataset(50, split))


def test_a_wider_teacher_is_read(tmp_path):
    teacher = loaded(write_teacher(tmp_path / "wide.safetensors", width=2, dataset_sha256="1" * 64))
    assert teacher.classifier.net.fc.in_features == 1024
    probabilities = teacher.probabilities(torch.randn(4, 3, 32, 32))
    torch.testing.assert_close(probabilities.sum(1), torch.ones(4))


def test_imitation_is_least_where_the_student_answers_as_the_teacher():
    logits = torch.randn(6, 10, generator=torch.Generator().manual_seed(0))
    taught_by = (logits / 3).softmax(1)
    least = imitation(logits, taught_by, 3.0)
    for seed in range(5):
        other = logits + torch.randn(6, 10, generator=torch.Generator().manual_seed(seed)) / 10
        assert imitation(other, taught_by, 3.0) > least


def test_the_student_follows_its_teacher_and_names_it(teacher_file, tmp_path):
    with_teacher = make_run(tmp_path / "with", STUDENT, teacher=teacher_file).execute()
    without = make_run(tmp_path / "without", dataclasses.replace(STUDENT, distillation=0.0)).execute()
    assert not torch.equal(load_file(with_teacher)["fc.weight"], load_file(without)["fc.weight"])
    sha256 = checkpoint.load(teacher_file).sha256
    assert checkpoint.load(with_teacher).metadata.teacher == sha256
    assert checkpoint.load(without).metadata.teacher is None
    assert sha256[:16] in (tmp_path / "with/model_card.md").read_text()
    assert json.loads((tmp_path / "with/history.json").read_text())["metadata"]["teacher"] == sha256


def test_a_student_resumes_with_its_own_teacher_only(teacher_file, tmp_path, monkeypatch):
    whole = make_run(tmp_path / "whole", STUDENT, teacher=teacher_file).execute().read_bytes()
    stop_after(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt):
        make_run(tmp_path / "run", STUDENT, teacher=teacher_file).execute()
    monkeypatch.undo()
    other = write_teacher(tmp_path / "other.safetensors", dataset_sha256="1" * 64, seed=9)
    with pytest.raises(TrainingError, match="cannot resume: the interrupted run has teacher"):
        make_run(tmp_path / "run", STUDENT, teacher=other, resume=True).execute()
    assert make_run(tmp_path / "run", STUDENT, teacher=teacher_file, resume=True).execute().read_bytes() == whole


def stop_after(monkeypatch, epochs):
    """Let Ctrl-C come once so many epochs, of whichever network, are done."""
    epoch, done = Trainer.epoch, []

    def stopped(trainer, progress):
        if len(done) == epochs:
            raise KeyboardInterrupt
        done.append(trainer)
        return epoch(trainer, progress)

    monkeypatch.setattr(Trainer, "epoch", stopped)


@pytest.fixture
def quick_teacher(monkeypatch):
    """The teacher's recipe with the ImageNet stem's arithmetic and three epochs."""
    monkeypatch.setitem(RECIPES, "teacher", dataclasses.replace(RECIPE, name="teacher", epochs=3))


@pytest.fixture(scope="module")
def distilled(tmp_path_factory):
    """A student and the teacher that the same command trained for it."""
    output = tmp_path_factory.mktemp("distilled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RECIPES, "teacher", dataclasses.replace(RECIPE, name="teacher", epochs=3))
        taught(make_run(output, STUDENT)).execute()
    return output


def test_a_recipe_that_distils_trains_its_teacher_first(distilled):
    teacher = checkpoint.load(distilled / "teacher/checkpoint.safetensors")
    assert checkpoint.load(distilled / "checkpoint.safetensors").metadata.teacher == teacher.sha256
    assert teacher.metadata.recipe == "teacher"
    assert teacher.metadata.epochs == 2, "no longer than its student"
    assert not (distilled / "teacher" / run.STATE_FILE).exists()


@pytest.mark.usefixtures("quick_teacher")
def test_a_teacher_that_learns_itself_is_taught_first(tmp_path, monkeypatch):
    monkeypatch.setitem(RECIPES, "assistant", dataclasses.replace(STUDENT, name="assistant", epochs=1))
    last = dataclasses.replace(STUDENT, teacher_recipe="assistant")
    whole = taught(make_run(tmp_path / "whole", last)).execute()
    folders = [tmp_path / "whole", tmp_path / "whole/teacher", tmp_path / "whole/teacher/teacher"]
    found = [checkpoint.load(folder / "checkpoint.safetensors") for folder in folders]
    assert [one.metadata.recipe for one in found] == ["student", "assistant", "teacher"]
    assert [one.metadata.teacher for one in found] == [found[1].sha256, found[2].sha256, None]
    assert [one.metadata.epochs for one in found] == [2, 1, 1], "no longer than their students"
    with monkeypatch.context() as patch:
        stop_after(patch, 1)  # the first of the three is finished then, and no other has begun
        with pytest.raises(KeyboardInterrupt):
            taught(make_run(tmp_path / "again", last)).execute()
    again = taught(make_run(tmp_path / "again", last, resume=True)).execute()
    assert again.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("epochs", [1, 2, 3], ids=["in the teacher", "before the student", "in the student"])
@pytest.mark.usefixtures("quick_teacher")
def test_wherever_it_is_interrupted_resuming_gives_the_same_bytes(distilled, tmp_path, monkeypatch, epochs):
    with monkeypatch.context() as patch:
        stop_after(patch, epochs)
        with pytest.raises(KeyboardInterrupt):
            taught(make_run(tmp_path, STUDENT)).execute()
    resumed = taught(make_run(tmp_path, STUDENT, resume=True)).execute()
    assert resumed.read_bytes() == (distilled / "checkpoint.safetensors").read_bytes()


@pytest.mark.usefixtures("quick_teacher")
def test_resuming_what_never_began_or_is_finished_changes_nothing(distilled, tmp_path):
    with pytest.raises(TrainingError, match="nothing to resume"):
        taught(make_run(tmp_path, STUDENT, resume=True))
    before = (distilled / "checkpoint.safetensors").read_bytes()
    with pytest.raises(TrainingError, match="nothing to resume"):
        taught(make_run(distilled, STUDENT, resume=True)).execute()
    assert (distilled / "checkpoint.safetensors").read_bytes() == before


def test_no_teacher_is_trained_where_one_is_named_or_none_is_wanted(teacher_file, tmp_path):
    for start in (make_run(tmp_path, STUDENT, teacher=teacher_file), make_run(tmp_path)):
        assert taught(start) is start
    assert not (tmp_path / teaching.FOLDER).exists()
