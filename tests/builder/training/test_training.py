"""A small training on the CPU: what it leaves, that a seed repeats it, and that an interruption costs nothing."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

from builder.errors import TrainingError
from builder.network import checkpoint
from builder.network.resnet import Classifier, resnet18
from builder.training import augmentation, run, saved_state
from builder.training import loop as training_module
from builder.training.loop import Images, Trainer
from builder.training.recipes import RECIPES, Recipe, recipe_named
from builder.training.run import Run, choose_device
from cifar10 import Dataset, Split

RECIPE = dataclasses.replace(
    RECIPES["baseline"],
    pretrained=False,
    epochs=3,
    batch_size=32,
    uncropped=0.5,
    cutmix=0.4,
    mixup=0.3,
    final_plain=0.3,
    jpeg_quality=75,
    cutout=8,
    ema_decay=0.5,
)


def dataset(count: int, split: Split) -> Dataset:
    """Images whose brightness tells the class: learnable in a few updates."""
    labels = np.arange(count, dtype=np.int64) % 10
    noise = np.random.default_rng(count).integers(0, 20, (count, 32, 32, 3))
    images = (noise + 23 * labels[:, None, None, None]).astype(np.uint8)
    return Dataset(images, labels, "CIFAR-10 (JPEG copy)", {Split.TRAIN: "1" * 64}.get(split, "0" * 64), split)


def make_run(output, recipe: Recipe = RECIPE, **changes) -> Run:
    return Run(recipe, dataset(128, Split.TRAIN), dataset(50, Split.TEST), output, device="cpu", **changes)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    output = tmp_path_factory.mktemp("runs") / "whole"
    make_run(output).execute()
    return output


def test_a_run_leaves_history_curves_card_and_checkpoint(finished):
    assert sorted(path.name for path in finished.iterdir()) == [
        "checkpoint.safetensors",
        "curves.png",
        "history.json",
        "model_card.md",
    ]
    history = json.loads((finished / "history.json").read_text())
    assert [epoch["epoch"] for epoch in history["epochs"]] == [1, 2, 3]
    accuracies = [epoch["test_accuracy"] for epoch in history["epochs"]]
    assert accuracies[-1] > 0.5, "nothing was learnt"  # of ten classes
    loaded = checkpoint.load(finished / "checkpoint.safetensors")
    assert loaded.metadata.accuracy == history["metadata"]["accuracy"]
    assert f"{100 * loaded.metadata.accuracy:.2f} %" in (finished / "model_card.md").read_text()


def test_the_recorded_accuracy_is_that_of_the_file(finished):
    loaded = checkpoint.load(finished / "checkpoint.safetensors")
    test = dataset(50, Split.TEST)
    with torch.inference_mode():
        predicted = loaded.classifier()(torch.from_numpy(test.images)).argmax(1).numpy()
    assert loaded.metadata.accuracy == (predicted == test.labels).mean()


def test_a_seed_repeats_a_run_and_another_does_not(finished, tmp_path):
    same = make_run(tmp_path / "same").execute().read_bytes()
    other = make_run(tmp_path / "other", seed=1).execute().read_bytes()
    assert same == (finished / "checkpoint.safetensors").read_bytes()
    assert other != same


def test_an_interrupted_run_resumes_to_the_same_bytes(finished, tmp_path, monkeypatch):
    epoch = Trainer.epoch

    def interrupted(trainer, progress):
        if len(trainer.records) == 2:
            raise KeyboardInterrupt
        return epoch(trainer, progress)

    monkeypatch.setattr(Trainer, "epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make_run(tmp_path / "run").execute()
    assert not (tmp_path / "run/checkpoint.safetensors").exists()
    monkeypatch.undo()
    resumed = make_run(tmp_path / "run", resume=True).execute().read_bytes()
    assert resumed == (finished / "checkpoint.safetensors").read_bytes()


def test_resuming_needs_a_state_of_this_very_run(tmp_path):
    with pytest.raises(TrainingError, match="nothing to resume"):
        make_run(tmp_path / "none", resume=True).execute()
    state = tmp_path / run.STATE_FILE
    for content in (b"not a state", b""):
        state.write_bytes(content)
        with pytest.raises(TrainingError, match="is damaged"):
            make_run(tmp_path, resume=True).execute()
    for value in ({}, [1]):
        torch.save(value, state)
        with pytest.raises(TrainingError, match="not the state of a training run"):
            make_run(tmp_path, resume=True).execute()


def test_resuming_on_other_images_is_refused_and_keeps_the_state(tmp_path, monkeypatch):
    monkeypatch.setattr(Run, "_save", lambda *_: None)  # leaves the state, as an interruption would
    make_run(tmp_path, dataclasses.replace(RECIPE, epochs=1)).execute()
    before = (tmp_path / run.STATE_FILE).read_bytes()
    other = dataclasses.replace(make_run(tmp_path, resume=True), train=dataset(96, Split.TRAIN))
    with pytest.raises(TrainingError, match=r"cannot resume: .* training data: images 128, this one 96"):
        other.execute()
    assert (tmp_path / run.STATE_FILE).read_bytes() == before


def test_resuming_another_recipe_names_both(tmp_path, monkeypatch):
    monkeypatch.setattr(Run, "_save", lambda *_: None)  # leaves the state, as an interruption would
    make_run(tmp_path / "run", dataclasses.replace(RECIPE, epochs=1)).execute()
    with pytest.raises(TrainingError) as raised:
        make_run(tmp_path / "run", RECIPE, resume=True).execute()
    assert str(raised.value) == f"cannot resume: the interrupted run has recipe epochs 1, this one {RECIPE.epochs}"


def test_a_finished_run_is_not_offered_to_be_trained_over(finished):
    with pytest.raises(TrainingError, match=r"nothing to resume: the run in .* is finished") as raised:
        make_run(finished, resume=True).execute()
    assert "leave --resume out" not in raised.value.hint
    assert "--output DIR" in raised.value.hint


@pytest.mark.parametrize(
    ("saved", "mine", "said"),
    [
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, "b 2, this one 3"),
        ({"a": 1, "b": "x"}, {"a": 2, "b": "y"}, "a 1, this one 2; b x, this one y"),
        ({"a": 1}, {"a": 1, "new": 0.5}, "new nothing, this one 0.5"),
        ({"a": 1, "old": None}, {"a": 1}, "old None, this one nothing"),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, "a {'b': 1}, this one {'b': 2}"),
        (3, 4, "3, this one 4"),
        (None, "abc", "None, this one abc"),
        ("a\nb", {"a": 1}, r"'a\nb', this one {'a': 1}"),
        ("x" * 500, 1, "x" * 80 + "…, this one 1"),
        (dict.fromkeys("abcdefgh", 1), dict.fromkeys("abcdefgh", 2),
         "; ".join(f"{name} 1, this one 2" for name in "abcdef") + "; and 2 more"),
    ],
)  # fmt: skip
def test_only_what_differs_is_said(saved, mine, said):
    assert saved_state.differences(saved, mine) == said


@pytest.fixture(scope="module")
def interrupted_state(tmp_path_factory):
    """The state of a run stopped after one of its three epochs."""
    output = tmp_path_factory.mktemp("interrupted")
    epoch = Trainer.epoch
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "epoch", lambda self, hook: interrupt() if self.records else epoch(self, hook))
        with pytest.raises(KeyboardInterrupt):
            make_run(output).execute()
    return (output / run.STATE_FILE).read_bytes()


def interrupt():
    raise KeyboardInterrupt


def without(mapping, key):
    return {name: value for name, value in mapping.items() if name != key}


@pytest.mark.parametrize(
    ("part", "edit", "said"),
    [
        ("records", lambda saved: [], "epochs"),
        ("records", lambda saved: saved * 4, "epochs"),
        ("records", lambda saved: [{**saved[0], "epoch": 2}], "epochs"),
        ("records", lambda saved: [{**saved[0], "test_loss": "low"}], "test_loss of epoch 1"),
        ("records", lambda saved: [without(saved[0], "seconds")], "seconds"),
        ("records", lambda saved: None, "epochs"),
        ("classifier", lambda saved: without(saved, "net.fc.bias"), "weights"),
        ("classifier", lambda saved: {**saved, "net.fc.bias": torch.zeros(7)}, "weights"),
        ("classifier", lambda saved: {**saved, "net.fc.bias": "zeros"}, "weights"),
        ("classifier", lambda saved: 3, "weights"),
        ("average", lambda saved: None, "averaged weights"),
        ("optimizer", lambda saved: {}, "optimizer values"),
        ("optimizer", lambda saved: {**saved, "state": without(saved["state"], 0)}, "parameters; found 61"),
        ("optimizer", lambda saved: {**saved, "state": {**saved["state"], 0: {}}}, "exp_avg"),
        (
            "optimizer",
            lambda saved: {**saved, "state": {**saved["state"], 1: saved["state"][0]}},
            "expected shape",
        ),
        ("recipe", lambda saved: without(saved, "epochs"), "has recipe"),
        ("seed", lambda saved: "zero", "has seed zero"),
    ],
)
def test_an_edited_state_is_refused_in_words(interrupted_state, tmp_path, part, edit, said):
    path = tmp_path / run.STATE_FILE
    path.write_bytes(interrupted_state)
    state = torch.load(path, weights_only=True)
    torch.save({**state, part: edit(state[part])}, path)
    with pytest.raises(TrainingError, match=f"cannot resume: .*{said}"):
        make_run(tmp_path, resume=True).execute()


def test_hyperparameters_edited_in_the_state_do_not_count(interrupted_state, finished, tmp_path):
    path = tmp_path / run.STATE_FILE
    path.write_bytes(interrupted_state)
    state = torch.load(path, weights_only=True)
    state["optimizer"]["param_groups"] = [{"betas": "wrong"}]
    torch.save(state, path)
    resumed = make_run(tmp_path, resume=True).execute().read_bytes()
    assert resumed == (finished / "checkpoint.safetensors").read_bytes()


def test_the_state_is_written_when_it_is_due_and_lost_epochs_are_not_many(tmp_path, monkeypatch):
    """A process that is killed writes nothing: what counts then is what was written in time."""
    epoch, written = Trainer.epoch, []

    def watched(trainer, progress):
        written.append((tmp_path / run.STATE_FILE).is_file())
        return epoch(trainer, progress)

    monkeypatch.setattr(Trainer, "epoch", watched)
    monkeypatch.setattr(run, "STATE_EVERY", 0)
    make_run(tmp_path).execute()
    assert written == [False, True, True]


def test_an_error_keeps_the_last_good_epoch(tmp_path, monkeypatch):
    epoch = Trainer.epoch

    def failing(trainer, progress):
        if trainer.records:
            raise TrainingError("the run has diverged")
        return epoch(trainer, progress)

    monkeypatch.setattr(Trainer, "epoch", failing)
    with pytest.raises(TrainingError, match="diverged"):
        make_run(tmp_path).execute()
    assert len(torch.load(tmp_path / run.STATE_FILE, weights_only=True)["records"]) == 1


def trainer(recipe: Recipe, *, jpeg: bool = True) -> Trainer:
    torch.manual_seed(0)
    images = [Images.on(torch.device("cpu"), dataset(count, Split.TRAIN)) for count in (128, 50)]
    images[0].jpeg = jpeg
    return Trainer(recipe, Classifier(resnet18(recipe.stem)), *images, 0)


def test_the_last_updates_see_unmixed_images(monkeypatch):
    mixed = []
    mix = augmentation.mix
    monkeypatch.setattr(augmentation, "mix", lambda *arguments: mixed.append(1) or mix(*arguments))
    training = trainer(dataclasses.replace(RECIPE, epochs=2, final_plain=0.25))
    counts = []
    for _ in range(2):
        training.epoch(lambda *_: None)
        counts.append(len(mixed))
    assert counts == [4, 6], "four updates an epoch, the last two of eight plain"


@pytest.mark.parametrize(("jpeg", "quality", "times"), [(True, 75, 1), (False, 75, 0), (True, 0, 0)])
def test_crops_are_compressed_again_only_where_images_were_jpegs(monkeypatch, jpeg, quality, times):
    calls = []
    monkeypatch.setattr(training_module, "recompress", lambda images, quality: calls.append(quality) or images)
    trainer(dataclasses.replace(RECIPE, jpeg_quality=quality), jpeg=jpeg).epoch(lambda *_: None)
    assert calls == [quality] * times


def test_averaged_weights_have_batch_norm_statistics_of_their_own():
    training = trainer(dataclasses.replace(RECIPE, ema_decay=0.9))
    training.epoch(lambda *_: None)
    norms = [training.tested.net.bn1, training.classifier.net.bn1]
    assert int(norms[0].num_batches_tracked) == 4, "128 images in batches of 32, counted anew"
    assert not torch.equal(norms[0].running_mean, norms[1].running_mean)


@pytest.mark.parametrize(("method", "doing"), [("logits", "training"), ("forward", "testing")])
def test_out_of_gpu_memory_names_a_batch_size(tmp_path, monkeypatch, method, doing):
    def exhausted(*_):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Classifier, method, exhausted)  # training calls logits, the test calls forward first
    with pytest.raises(TrainingError, match=f"out of GPU memory while {doing}, at batch size 32") as error:
        make_run(tmp_path, dataclasses.replace(RECIPE, ema_decay=0.0)).execute()
    assert error.value.hint == "try --batch-size 16"


def test_a_diverging_run_stops_without_a_checkpoint(tmp_path):
    wild = dataclasses.replace(RECIPES["teacher"], stem=RECIPE.stem, epochs=3, batch_size=32, learning_rate=1e20)
    with pytest.raises(TrainingError, match="the run has diverged"):
        make_run(tmp_path / "run", wild).execute()
    assert not (tmp_path / "run/checkpoint.safetensors").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"epochs": 0}, "epochs must be 1 or more"),
        ({"batch_size": 0}, "batch_size"),
        ({"cutmix": 2}, "cutmix"),
        ({"cutmix": 0.8, "mixup": 0.3}, "mixup must be 0 up to what cutmix leaves of 1; found 0.3"),
        ({"final_plain": 1.1}, "final_plain"),
        ({"jpeg_quality": 101}, "jpeg_quality must be 0 for none, or 1..100"),
        ({"width": 0}, "width"),
        ({"distillation": -0.1}, "distillation"),
        ({"temperature": 0}, "temperature must be more than 0"),
    ],
)
def test_bad_values_are_refused(change, said):
    with pytest.raises(TrainingError, match=said):
        dataclasses.replace(RECIPE, **change)


def test_unknown_recipe_lists_those_there_are():
    with pytest.raises(TrainingError, match="'fast'") as error:
        recipe_named("fast")
    assert "baseline, teacher, assistant, best" in error.value.hint


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_missing_gpu_is_said():
    with pytest.raises(TrainingError, match="--device cuda"):
        choose_device("cuda")
