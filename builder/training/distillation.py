"""Distillation: a trained network's answers as targets beside the labels (Hinton et al. 2015, arXiv:1503.02531)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from builder.errors import TrainingError
from builder.network import checkpoint
from builder.network.resnet import Classifier
from builder.training.recipes import Recipe
from cifar10 import Dataset


@dataclass
class Teacher:
    """A network that answers for the very images that the student sees.

    Attributes:
        classifier: in eval mode, without gradients.
        sha256: of its checkpoint.
        temperature: that softens its answers.
        compiled: whether `torch.compile` makes the kernels.
    """

    classifier: Classifier
    sha256: str
    temperature: float
    compiled: bool = False

    def __post_init__(self) -> None:
        answer = self._probabilities
        self._answer = torch.compile(answer, mode="reduce-overhead") if self.compiled else answer

    def on(self, device: torch.device) -> Teacher:
        """Move the network to the device that trains, and return the teacher."""
        self.classifier.to(device)
        if device.type == "cuda":
            self.classifier.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return self

    def probabilities(self, images: Tensor) -> Tensor:
        """Softened class probabilities, FP32 [N, 10], of normalised images [N, 3, 32, 32]."""
        with torch.no_grad():
            return self._answer(images).clone()  # a CUDA graph's result is overwritten by the next replay

    def _probabilities(self, images: Tensor) -> Tensor:
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=images.is_cuda):
            logits = self.classifier.logits(images)
        return (logits.float() / self.temperature).softmax(1)


def imitation(logits: Tensor, taught: Tensor, temperature: float) -> Tensor:
    """How far the student's logits [N, 10] are from the teacher's probabilities [N, 10]: cross-entropy, in nats.

    Softer targets have gradients smaller by the temperature's square, which is given back (Hinton et al. 2015, 2).
    """
    return temperature**2 * functional.cross_entropy(logits / temperature, taught)


def load_teacher(path: Path | None, recipe: Recipe, train: Dataset, test: Dataset, *, compiled: bool) -> Teacher | None:
    """The teacher that a recipe asks for, from its checkpoint; None for a recipe without.

    Args:
        path: the checkpoint; None where none was named.
        recipe: of the student.
        train: what the student learns from.
        test: what the student is reported on; a teacher must not have learnt from it.
        compiled: whether `torch.compile` makes the kernels.

    Raises:
        CheckpointError: the file is missing, damaged, or not one of this project's networks for these classes.
        TrainingError: only one of recipe and command speaks of a teacher, or the teacher knows the test images.
    """
    if path is None:
        if recipe.distillation:
            raise TrainingError(
                f"recipe '{recipe.name}' learns from a teacher with weight {recipe.distillation}, and none is named",
                "name a checkpoint with --teacher, or learn from the labels alone with --set distillation=0",
            )
        return None
    if not recipe.distillation:
        raise TrainingError(
            f"recipe '{recipe.name}' gives a teacher no weight, but --teacher names {path}",
            "give it one, for instance with --set distillation=0.5, or leave --teacher out",
        )
    loaded = checkpoint.load(path)
    classifier = loaded.classifier()
    learnt = loaded.metadata
    held_out = test.sha256 == train.sha256 and learnt.train_images is not None and learnt.train_images <= len(train)
    if learnt.dataset_sha256 == test.sha256 and not held_out:
        raise TrainingError(
            f"{path} has learnt from images that this run is tested on",
            "take a teacher that was trained with this run's --data and --holdout",
        )
    return Teacher(classifier.requires_grad_(False), loaded.sha256, recipe.temperature, compiled)
