"""One training run and the directory it leaves: history, curves, checkpoint, model card, and the state to resume."""

from __future__ import annotations

import copy
import dataclasses
import io
import logging
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from builder.errors import TrainingError
from builder.network import checkpoint
from builder.network.resnet import Classifier, resnet18
from builder.network.torchvision_models import torchvision_models
from builder.training import saved_state
from builder.training.distillation import load_teacher
from builder.training.history import write_curves, write_history
from builder.training.loop import Images, Trainer, predictions
from builder.training.model_card import model_card
from builder.training.recipes import Recipe
from cifar10 import Dataset
from console.files import write_atomically
from console.versions import MODEL_TOOLS, git_revision, package_versions

logger = logging.getLogger(__name__)

STATE_FILE = "state.pt"
CHECKPOINT_FILE = "checkpoint.safetensors"

STATE_EVERY = 10
"""Seconds between two writes of the state: what a crash costs at most, or one epoch where epochs are longer.
Ctrl-C and errors cost nothing but the epoch they come in."""

DOWNLOAD_TIMEOUT = 10
"""Seconds without an answer after which ImageNet weights are given up."""


@dataclass(frozen=True)
class Run:
    """What to train and where to leave it.

    Attributes:
        recipe: how.
        train: images to learn from.
        test: images to report on; never used to choose anything.
        output: the run's directory.
        device: "auto", "cpu" or "cuda".
        seed: of the initial weights, the order and the augmentation.
        resume: go on from the state in `output`.
        compiled: use `torch.compile`.
        teacher: checkpoint of the network whose answers are learnt beside the labels, for a recipe that distils.
    """

    recipe: Recipe
    train: Dataset
    test: Dataset
    output: Path
    device: str = "auto"
    seed: int = 0
    resume: bool = False
    compiled: bool = False
    teacher: Path | None = None

    def execute(self) -> Path:
        """Train to the end and return the checkpoint's path.

        Raises:
            TrainingError: bad values, no such device, divergence, nothing to resume.
        """
        device = choose_device(self.device)
        taught_by = load_teacher(self.teacher, self.recipe, self.train, self.test, compiled=self.compiled)
        state = self._saved_state() if self.resume else None
        torch.manual_seed(self.seed)
        net, pretrained = initial_network(self.recipe, download=state is None)
        if state is not None:
            pretrained = bool(state.pop("pretrained"))
        trainer = Trainer(
            self.recipe,
            Classifier(net).to(device),
            Images.on(device, self.train),
            Images.on(device, self.test),
            self.seed,
            self.compiled,
            taught_by.on(device) if taught_by is not None else None,
        )
        if state is not None:
            trainer.restore(state)
            logger.info("resuming %s after epoch %d", self.output, len(trainer.records))
        self._epochs(trainer, pretrained)
        return self._save(trainer, pretrained)

    def _epochs(self, trainer: Trainer, pretrained: bool) -> None:
        from builder.training.progress import training_progress

        unwritten: dict[str, object] | None = None
        written_at = time.monotonic()
        with training_progress(self.recipe.epochs, len(trainer.records)) as display:
            try:
                while len(trainer.records) < self.recipe.epochs:
                    record = trainer.epoch(display.update)
                    display.epoch(record, trainer.updates_per_epoch * min(self.recipe.batch_size, len(trainer.train)))
                    unwritten = copy.deepcopy({**trainer.state(), "pretrained": pretrained, "data": self._data})
                    if time.monotonic() - written_at >= STATE_EVERY or len(trainer.records) == self.recipe.epochs:
                        self._write_state(unwritten)
                        unwritten, written_at = None, time.monotonic()
            except KeyboardInterrupt:
                done = len(trainer.records)
                logger.info("stopped after %d of %d epochs; --resume goes on there", done, self.recipe.epochs)
                raise
            finally:
                if unwritten is not None:
                    self._write_state(unwritten)

    def _write_state(self, state: dict[str, object]) -> None:
        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_atomically(self.output / STATE_FILE, buffer.getvalue())

    def _saved_state(self) -> dict[str, Any]:
        state = saved_state.read(self.output / STATE_FILE, self.output / CHECKPOINT_FILE)
        if state["data"] != self._data:
            raise TrainingError(
                f"cannot resume: the interrupted run has other training data: "
                f"{saved_state.differences(state['data'], self._data)}",
                "repeat the command with its --data, --limit and --holdout, or leave --resume out to start anew",
            )
        return state

    @property
    def _data(self) -> dict[str, object]:
        """What tells one set of training images from another: a resumed run must go on with its own."""
        return {"name": self.train.name, "images": len(self.train), "sha256": self.train.sha256}

    def _save(self, trainer: Trainer, pretrained: bool) -> Path:
        """Leave the run's files; the accuracy they name is that of the weights as saved, in FP16, computed in FP32."""
        state = {name: _halved(tensor) for name, tensor in trainer.tested.net.state_dict().items()}
        saved = Classifier(resnet18(self.recipe.stem, width=self.recipe.width)).to(trainer.device)
        saved.net.load_state_dict(state)
        with trainer.memory_sufficing("testing"):
            predicted = predictions(saved, trainer.test, trainer.evaluation_batch)
        hits = (predicted == trainer.test.labels.cpu()).numpy()
        metadata = checkpoint.Metadata(
            stem=self.recipe.stem,
            recipe=self.recipe.name,
            seed=self.seed,
            epochs=len(trainer.records),
            accuracy=float(hits.mean()),
            dataset=self.test.name,
            dataset_sha256=self.train.sha256,
            pretrained=pretrained,
            torch_version=torch.__version__,
            git_revision=git_revision(),
            train_images=len(self.train),
            width=self.recipe.width,
            teacher=trainer.teacher.sha256 if trainer.teacher is not None else None,
        )
        device = _device_name(trainer.device)
        about = {
            "recipe": self.recipe.plain(),
            "metadata": dataclasses.asdict(metadata),
            "device": device,
            "tools": package_versions(MODEL_TOOLS),
        }
        title = f"ResNet18 ({self.recipe.stem.value} stem), recipe '{self.recipe.name}', {self.test.name}"
        write_history(self.output / "history.json", about, trainer.records)
        write_curves(self.output / "curves.png", title, trainer.records)
        card = model_card(metadata, device, len(self.train), self.test.labels, hits)
        write_atomically(self.output / "model_card.md", card)
        path = self.output / CHECKPOINT_FILE
        checkpoint.save(path, state, metadata)
        (self.output / STATE_FILE).unlink(missing_ok=True)
        return path


def choose_device(name: str) -> torch.device:
    """The device that `--device` names; "auto" takes a GPU where there is one.

    Raises:
        TrainingError: "cuda" without a usable GPU.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        reason = "this PyTorch is a CPU build" if torch.version.cuda is None else "PyTorch finds no GPU"
        raise TrainingError(f"--device cuda: {reason}", "use --device cpu, or install a CUDA build of PyTorch")
    return torch.device(name)


def initial_network(recipe: Recipe, *, download: bool = True) -> tuple[torch.nn.Module, bool]:
    """The network before training, and whether it carries ImageNet weights.

    Where the recipe wants them and they cannot be downloaded, the network starts from scratch and a line says so.
    """
    net = resnet18(recipe.stem, width=recipe.width)
    if not (recipe.pretrained and download):
        return net, False
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)  # torch.hub opens the address without one
    try:
        weights = torchvision_models().ResNet18_Weights.IMAGENET1K_V1.get_state_dict(check_hash=True, progress=False)
    except (OSError, RuntimeError) as error:  # URLError is an OSError; a hash mismatch is a RuntimeError
        logger.warning("no ImageNet weights (%s): training from scratch", error)
        return net, False
    finally:
        socket.setdefaulttimeout(patience)
    fitting = {name: tensor for name, tensor in weights.items() if not name.startswith("fc.")}
    net.load_state_dict(fitting, strict=False)
    return net, True


def _halved(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.half() if tensor.is_floating_point() else tensor


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
