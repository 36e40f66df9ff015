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
from builder.resnet import Classifier, Stem, resnet18
from console.files import sha256_file, write_atomically

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
        net = resnet18(self.metadata.stem)
        try:
            net.load_state_dict({name: tensor.to(_wide(tensor)) for name, tensor in self.state.items()})
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:300]
            raise CheckpointError(f"{self.path}: the weights are not those of a {ARCHITECTURE}: {reason}") from None
        return Classifier(net).eval()


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
        raise CheckpointError(f"{path} is not a readable safetensors file: {error}") from None
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
