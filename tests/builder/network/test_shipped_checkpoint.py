"""The checkpoint in the project, on real images."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from builder.__main__ import DEFAULT_CHECKPOINT
from builder.export import onnx_export
from builder.network import checkpoint
from builder.signature import BATCH_SIZES
from builder.training.recipes import RECIPES
from builder.variants import Precision
from builder.verification.parity import FP16_LIMITS, FP32_LIMITS, onnx_runtime, reference_logits, verify


@pytest.mark.parametrize(("precision", "limits"), [(Precision.FP32, FP32_LIMITS), (Precision.FP16, FP16_LIMITS)])
def test_it_classifies_real_images_and_so_does_its_export(cifar10_test, precision, limits):
    images, labels = np.array(cifar10_test.images[:128]), cifar10_test.labels[:128]
    loaded = checkpoint.load(DEFAULT_CHECKPOINT)
    classifier = loaded.classifier()
    reference = reference_logits(classifier, images)
    # 128 images at 93 %: fewer than 85 % right happens once in 300 draws, and these images never change
    assert (reference.argmax(axis=1) == labels).mean() > 0.85
    verify(onnx_runtime(onnx_export.export(classifier, BATCH_SIZES, precision)), images, reference, limits)


ROOT = Path(__file__).parents[3]
CORRECT_OF = "{:,} of 10,000"


def beside(name: str) -> Path:
    return DEFAULT_CHECKPOINT.with_name(f"{DEFAULT_CHECKPOINT.stem}.{name}")


def test_what_lies_beside_it_is_of_the_same_run():
    metadata = checkpoint.load(DEFAULT_CHECKPOINT).metadata
    history = json.loads(beside("history.json").read_text())
    assert history["metadata"] == json.loads(json.dumps(dataclasses.asdict(metadata)))
    assert len(history["epochs"]) == metadata.epochs
    assert CORRECT_OF.format(round(metadata.accuracy * 10_000)) in beside("model_card.md").read_text()
    assert beside("curves.png").stat().st_size > 10_000


def test_the_recipe_is_the_one_it_was_trained_with():
    recorded = json.loads(beside("history.json").read_text())["recipe"]
    del recorded["teacher_recipe"]  # its teacher was named as a file, whose SHA-256 is in the metadata
    now = RECIPES[recorded["name"]].plain()
    assert {name: now[name] for name in recorded} == recorded


def checkpoints_in(value: object) -> Iterator[str]:
    """The SHA-256 of every checkpoint that a result, at whatever depth, says it is of."""
    if isinstance(value, dict):
        source = value.get("checkpoint")
        if isinstance(source, dict) and "sha256" in source:
            yield source["sha256"]
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from checkpoints_in(part)


def stale_files(sha256: str, correct: int) -> list[str]:
    """The files whose figures are of another checkpoint."""
    results = sorted((ROOT / "benchmarks/results").rglob("*.json"))
    others = [path for path in results if set(checkpoints_in(json.loads(path.read_text()))) - {sha256}]
    reports = sorted((ROOT / "benchmarks/results").rglob("*.md"))
    others += [path for path in reports if "checkpoint" in path.read_text() and sha256[:16] not in path.read_text()]
    if CORRECT_OF.format(correct) not in (ROOT / "README.md").read_text():
        others.append(ROOT / "README.md")
    return [str(path.relative_to(ROOT)) for path in others]


def test_every_published_figure_is_of_this_checkpoint_or_says_so():
    loaded = checkpoint.load(DEFAULT_CHECKPOINT)
    stale = stale_files(loaded.sha256, round(loaded.metadata.accuracy * 10_000))
    earlier = json.loads((ROOT / "benchmarks/results/earlier-checkpoint.json").read_text())["checkpoints"]
    named = sorted(file for one in earlier for file in one["files"])
    assert sorted(stale) == named, "to be made again, or to be named as an earlier checkpoint's"
    for one in earlier:
        assert one["sha256"] != loaded.sha256
        for file in (file for file in one["files"] if file.endswith(".json")):
            assert set(checkpoints_in(json.loads((ROOT / file).read_text()))) == {one["sha256"]}, file
        for page in one["pages"]:
            assert one["named"] in " ".join((ROOT / page).read_text().split()), (
                f"{page} does not say whose figures it shows"
            )


def test_figures_of_another_checkpoint_are_noticed():
    assert "README.md" in stale_files("0" * 64, 1234)
    assert list(checkpoints_in({"a": [{"checkpoint": {"sha256": "7"}}, {"checkpoint": {"sha256": "8"}}]})) == ["7", "8"]
