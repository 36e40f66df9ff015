"""Checkpoints: safetensors (weights that cannot hold code) with metadata that says where they come from."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from builder.errors import CheckpointError
from builder.network.resnet import Classifier, Stem, resnet18
from console.files import mistaken_for, sha256_file, write_atomically

ARCHITECTURE = "resnet18"
FORMAT = 1

HEADER = "checkpoint"
"""The one key of the file's metadata: safetensors writes several in random order, and equal runs would differ."""


@dataclass(frozen=True)
class Metadata:
    """Where the weights come from.

    Attributes:
        stem: the network's first layers.
        recipe: its name.
        seed: of the run.
        epochs: trained.
        accuracy: top-1 on the test images after the last epoch, single view, 0..1.
        dataset: the dataset's name, as in "CIFAR-10 (JPEG copy)".
        dataset_sha256: of the training images' source files.
        pretrained: whether training began from ImageNet weights.
        torch_version: PyTorch's.
        git_revision: of this project when trained; None outside a checkout.
        train_images: how many images it learnt from, the first of the dataset; None where a file does not say.
        width: factor on the channels of the stages.
        teacher: SHA-256 of the checkpoint it was distilled from; None without one.
    """

    stem: Stem
    recipe: str
    seed: int
    epochs: int
    accuracy: float
    dataset: str
    dataset_sha256: str
    pretrained: bool
    torch_version: str
    git_revision: str | None
    train_images: int | None = None
    width: int = 1
    teacher: str | None = None

    @staticmethod
    def parse(values: dict[str, Any]) -> Metadata:
        """Read what `dataclasses.asdict(metadata)` gave, after its way through JSON."""
        return Metadata(**{**values, "stem": Stem(values["stem"])})


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint.

    Attributes:
        state: tensors by parameter name, as stored (FP32 or FP16).
        metadata: where they come from.
        sha256: of the file.
        path: of the file.
    """

    state: dict[str, Tensor]
    metadata: Metadata
    sha256: str
    path: Path

    def classifier(self) -> Classifier:
        """The network with these weights, FP32, in eval mode.

        Raises:
            CheckpointError: the weights do not fit the network that the metadata names.
        """
        net = resnet18(self.metadata.stem, width=self.metadata.width)
        try:
            net.load_state_dict({name: tensor.to(_wide(tensor)) for name, tensor in self.state.items()})
        except RuntimeError as error:
            raise self._unfit(net, str(error)) from None
        return Classifier(net).eval()

    def _unfit(self, net: torch.nn.Module, reason: str) -> CheckpointError:
        """Say in one line what is wrong with the weights: a wrapper's prefix, other names, or other shapes."""
        expected = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
        found = {name: tuple(tensor.shape) for name, tensor in self.state.items()}
        message = f"{self.path}: the weights are not those of a {ARCHITECTURE} ({self.metadata.stem.value} stem)"
        for prefix in {name.partition(".")[0] + "." for name in found}:
            if expected.keys() <= {name.removeprefix(prefix) for name in found}:
                return CheckpointError(
                    f"{message}: every name begins with '{prefix}'",
                    "a wrapper (DataParallel, torch.compile) put it there: save the wrapped module's state_dict()",
                )
        for name in sorted(expected.keys() & found.keys()):
            if expected[name] != found[name]:
                return CheckpointError(f"{message}: {name} has shape {found[name]}, expected {expected[name]}")
        missing, strange = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
        if not missing and not strange:
            return CheckpointError(f"{message}: {' '.join(reason.split())[:200]}")
        parts = [
            f"{len(names)} {what}, {names[0]} first"
            for names, what in ((missing, "missing"), (strange, "unknown"))
            if names
        ]
        return CheckpointError(f"{message}: {'; '.join(parts)}")


def save(path: Path, state: dict[str, Tensor], metadata: Metadata) -> None:
    """Write a checkpoint atomically.

    Args:
        path: a `.safetensors` file; directories on the way are made.
        state: the network's state dict.
        metadata: where it comes from.
    """
    from safetensors.torch import save as serialize

    header = {"format": FORMAT, "architecture": ARCHITECTURE, "metadata": dataclasses.asdict(metadata)}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    write_atomically(path, serialize(tensors, metadata={HEADER: json.dumps(header)}))


def load(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        CheckpointError: the file is missing, damaged, or not one of this project's ResNet18 checkpoints.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}", "train one with: make train RECIPE=best")
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(HEADER, "{}"))
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a dict
    except (SafetensorError, OSError, ValueError) as error:
        what, hint = mistaken_for(path)
        told = f"it is {what}" if what else str(error)
        raise CheckpointError(
            f"{path} is not a readable safetensors file: {told}", hint or "`python -m builder train` writes such a file"
        ) from None
    found = header.get("architecture", "none named")
    if found != ARCHITECTURE or header.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: expected architecture '{ARCHITECTURE}' in checkpoint format {FORMAT}; "
            f"found '{found}' in format {header.get('format', 'none named')}",
            "use a checkpoint.safetensors that `python -m builder train` wrote",
        )
    try:
        metadata = Metadata.parse(header["metadata"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: its metadata cannot be read: {error!r}") from None
    return Checkpoint(state, metadata, sha256_file(path), path)


def _wide(tensor: Tensor) -> torch.dtype:
    """FP32 for a stored FP16; whatever it is otherwise (BatchNorm's counters are integers)."""
    return torch.float32 if tensor.is_floating_point() else tensor.dtype
