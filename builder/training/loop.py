"""The training loop: the dataset lives on the device, an epoch at most is lost, a seed repeats a run."""

from __future__ import annotations

import copy
import dataclasses
import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import update_bn

from builder.errors import TrainingError
from builder.network.resnet import Classifier
from builder.training import augmentation, saved_state
from builder.training.distillation import Teacher, imitation
from builder.training.history import EpochRecord
from builder.training.jpeg import recompress
from builder.training.recipes import Optimizer, Recipe
from builder.training.schedule import learning_rate
from cifar10 import Dataset
from cifar10.dataset import JPEG_NAME

EVALUATION_BATCH = 1000
"""Images a forward pass when testing, at most."""

SETTLING_IMAGES = 5000
"""Training images that give averaged weights their BatchNorm statistics: those of the weights do not average."""

ProgressHook = Callable[[int, int, float], None]
"""Called with (update, updates in the epoch, recent mean loss) now and then."""


@dataclass
class Images:
    """Raw images and labels on the device: UINT8 [N, 32, 32, 3], int64 [N], and whether the images were JPEGs."""

    pixels: Tensor
    labels: Tensor
    jpeg: bool = False

    @staticmethod
    def on(device: torch.device, dataset: Dataset) -> Images:
        """Copy a dataset to the device."""
        # from_numpy needs memory it may write to; a cached dataset is mapped read-only
        pixels, labels = (torch.from_numpy(array.copy()) for array in (dataset.images, dataset.labels))
        return Images(pixels.to(device), labels.to(device), dataset.name == JPEG_NAME)

    def __len__(self) -> int:
        return len(self.labels)


@dataclass
class Trainer:
    """One run in progress.

    Attributes:
        recipe: how.
        classifier: the network in training, on the device.
        train: images to learn from.
        test: images to report on.
        seed: of the augmentation and the order of the images.
        compiled: whether `torch.compile` makes the kernels.
        teacher: whose answers are targets beside the labels.
    """

    recipe: Recipe
    classifier: Classifier
    train: Images
    test: Images
    seed: int
    compiled: bool = False
    teacher: Teacher | None = None
    records: list[EpochRecord] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.device.type == "cuda":
            self.classifier.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            torch.backends.cudnn.benchmark = True  # the shapes never change: time cuDNN's algorithms once
        self.optimizer = _optimizer(self.recipe, self.classifier)
        self.average = copy.deepcopy(self.classifier) if self.recipe.ema_decay else None
        # CUDA graphs: at 4 ms an update, launching kernels one by one takes longer than running them
        self._loss = torch.compile(self._loss_of, mode="reduce-overhead") if self.compiled else self._loss_of

    @property
    def device(self) -> torch.device:
        """Where the images and the network are."""
        return self.train.pixels.device

    @property
    def tested(self) -> Classifier:
        """The network that is tested and saved: the averaged weights where the recipe averages."""
        return self.average if self.average is not None else self.classifier

    @property
    def updates_per_epoch(self) -> int:
        """Full batches in the training images; the rest of each epoch's random order is left out."""
        return len(self.train) // self._batch_size

    @property
    def _batch_size(self) -> int:
        return min(self.recipe.batch_size, len(self.train))

    def epoch(self, progress: ProgressHook) -> EpochRecord:
        """Train one epoch, test, and append the record.

        Raises:
            TrainingError: the loss is not a number, or the GPU's memory does not suffice.
        """
        number = len(self.records) + 1
        started = time.perf_counter()
        with self.memory_sufficing("training"):
            loss, accuracy = self._train_epoch(number, progress)
        seconds = time.perf_counter() - started
        if loss != loss or loss == float("inf"):
            raise TrainingError(
                f"the training loss of epoch {number} is {loss}: the run has diverged",
                "lower the learning rate; the last good epoch is kept",
            )
        with self.memory_sufficing("testing"):
            test_loss, test_accuracy = evaluate(self.tested, self.test, self.evaluation_batch)
        rate = learning_rate(self.recipe, number * self.updates_per_epoch - 1, self._total_updates)
        self.records.append(EpochRecord(number, loss, accuracy, test_loss, test_accuracy, rate, seconds))
        return self.records[-1]

    @contextmanager
    def memory_sufficing(self, doing: str) -> Iterator[None]:
        """Name the batch size to try when the GPU's memory does not suffice.

        Raises:
            TrainingError: it does not.
        """
        try:
            yield
        except torch.cuda.OutOfMemoryError:
            smaller = max(self._batch_size // 2, 1)
            raise TrainingError(
                f"out of GPU memory while {doing}, at batch size {self._batch_size}", f"try --batch-size {smaller}"
            ) from None

    @property
    def evaluation_batch(self) -> int:
        """Images a forward pass when testing: without gradients, twice a training batch takes less memory than one."""
        return min(EVALUATION_BATCH, 2 * self._batch_size)

    @property
    def _after_crop(self) -> Callable[[Tensor], Tensor] | None:
        """What brings a crop back to the look of the images to be classified, where there is such a thing."""
        quality = self.recipe.jpeg_quality
        return functools.partial(recompress, quality=quality) if quality and self.train.jpeg else None

    @property
    def _total_updates(self) -> int:
        return self.recipe.epochs * self.updates_per_epoch

    def _train_epoch(self, number: int, progress: ProgressHook) -> tuple[float, float]:
        # Seeded by the epoch, so that a resumed run draws what an uninterrupted one would.
        generator = torch.Generator().manual_seed(self.seed * 100_003 + number)
        pixels = augmentation.crop_and_flip(
            self.train.pixels,
            self.recipe.crop_padding,
            generator,
            uncropped=self.recipe.uncropped,
            after_crop=self._after_crop,
        )
        order = torch.randperm(len(self.train), generator=generator).to(self.device)
        losses, correct = torch.zeros((), device=self.device), torch.zeros((), device=self.device)
        self.classifier.train()
        for update in range(self.updates_per_epoch):
            chosen = order[update * self._batch_size : (update + 1) * self._batch_size]
            loss, hits = self._update(number, update, pixels[chosen], self.train.labels[chosen], generator)
            losses += loss
            correct += hits
            if update % 10 == 9 or update + 1 == self.updates_per_epoch:
                progress(update + 1, self.updates_per_epoch, losses.item() / (update + 1))
        if self.average is not None:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
                update_bn(pixels[order[:SETTLING_IMAGES]].split(self._batch_size), self.average)
        images = self.updates_per_epoch * self._batch_size
        return losses.item() / self.updates_per_epoch, correct.item() / images

    def _update(
        self, number: int, update: int, pixels: Tensor, labels: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        step = (number - 1) * self.updates_per_epoch + update
        rate = learning_rate(self.recipe, step, self._total_updates)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        images = self.classifier.normalize(pixels.permute(0, 3, 1, 2).float())
        targets = functional.one_hot(labels, 10).float()
        if self.recipe.cutout:
            images = augmentation.cutout(images, self.recipe.cutout, generator)
        if step < (1 - self.recipe.final_plain) * self._total_updates:
            images, targets = augmentation.mix(images, targets, self.recipe.cutmix, self.recipe.mixup, generator)
        taught = self.teacher.probabilities(images) if self.teacher is not None else None
        torch.compiler.cudagraph_mark_step_begin()  # what the last update's graph returned has been used
        loss, logits = self._loss(images, targets, taught)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        if self.average is not None:
            self._follow(self.average)
        return loss.detach(), (logits.argmax(1) == labels).sum()

    @torch.no_grad()
    def _follow(self, average: Classifier) -> None:
        """One step of the average of the weights; PyTorch's AveragedModel waits for the GPU at each."""
        torch._foreach_lerp_(list(average.parameters()), list(self.classifier.parameters()), 1 - self.recipe.ema_decay)

    def _loss_of(self, images: Tensor, targets: Tensor, taught: Tensor | None) -> tuple[Tensor, Tensor]:
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            logits = self.classifier.logits(images)
        logits = logits.float()
        loss = functional.cross_entropy(logits, targets, label_smoothing=self.recipe.label_smoothing)
        if taught is not None:
            weight = self.recipe.distillation
            loss = (1 - weight) * loss + weight * imitation(logits, taught, self.recipe.temperature)
        return loss, logits

    def state(self) -> dict[str, object]:
        """All that is needed to go on from here."""
        return {
            "recipe": self.recipe.plain(),
            "seed": self.seed,
            "records": [dataclasses.asdict(record) for record in self.records],
            "classifier": self.classifier.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.state_dict() if self.average is not None else None,
            "teacher": self.teacher and self.teacher.sha256,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned.

        Raises:
            TrainingError: the state is of another recipe or seed, or a part of it does not fit.
        """
        mine = self.state()
        for name in ("recipe", "seed", "teacher"):
            if state[name] != mine[name]:
                raise TrainingError(
                    f"cannot resume: the interrupted run has {name} {saved_state.differences(state[name], mine[name])}",
                    "repeat the command with its values, or leave --resume out to start anew",
                )
        with saved_state.fitting("weights"):
            self.classifier.load_state_dict(state["classifier"])
        with saved_state.fitting("optimizer values"):
            self.optimizer.load_state_dict(saved_state.optimizer_state(state["optimizer"], self.optimizer))
        if self.average is not None:
            with saved_state.fitting("averaged weights"):
                self.average.load_state_dict(state["average"])
        with saved_state.fitting("epochs"):
            self.records[:] = saved_state.records(state["records"], self.recipe.epochs)


def predictions(classifier: Classifier, images: Images, batch: int = EVALUATION_BATCH) -> Tensor:
    """The classes, int64 [N] on the CPU, that a network gives untouched images, one view each, in FP32."""
    classifier.eval()
    with torch.inference_mode():
        parts = [classifier(part).argmax(1).cpu() for part in images.pixels.split(batch)]
    return torch.cat(parts)


def evaluate(classifier: Classifier, images: Images, batch: int = EVALUATION_BATCH) -> tuple[float, float]:
    """Cross-entropy and top-1 accuracy (0..1) on untouched images, one view each, in the precision of the training."""
    device = images.pixels.device
    classifier.eval()
    loss, correct = torch.zeros((), device=device), torch.zeros((), device=device)
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        for start in range(0, len(images), batch):
            chosen = slice(start, start + batch)
            labels = images.labels[chosen]
            logits = classifier(images.pixels[chosen])
            loss += functional.cross_entropy(logits, labels, reduction="sum")
            correct += (logits.argmax(1) == labels).sum()
    return loss.item() / len(images), correct.item() / len(images)


def _optimizer(recipe: Recipe, module: nn.Module) -> torch.optim.Optimizer:
    parameters, decay = list(module.parameters()), recipe.weight_decay
    if recipe.optimizer is Optimizer.ADAM:
        return torch.optim.Adam(parameters, lr=recipe.learning_rate, weight_decay=decay)
    return torch.optim.SGD(
        parameters,
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=True,
        weight_decay=decay,
        fused=parameters[0].is_cuda,  # one kernel instead of one a tensor group
    )
