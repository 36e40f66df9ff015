"""A real, untrained network as a checkpoint file: what export and publishing need, without a training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from builder.network import checkpoint
from builder.network.resnet import Stem, resnet18


def make_metadata(stem: Stem) -> checkpoint.Metadata:
    return checkpoint.Metadata(
        stem=stem,
        recipe="test",
        seed=0,
        epochs=1,
        accuracy=0.1,
        dataset="CIFAR-10 (JPEG copy)",
        dataset_sha256="0" * 64,
        pretrained=False,
        torch_version=torch.__version__,
        git_revision=None,
    )


def write_checkpoint(path: Path, stem: Stem, *, seed: int = 0) -> Path:
    """A ResNet18 whose BatchNorm statistics are not the identity, so that a wrong folding shows."""
    torch.manual_seed(seed)
    net = resnet18(stem)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.1)
    checkpoint.save(path, net.state_dict(), make_metadata(stem))
    return path


@pytest.fixture(scope="session")
def checkpoint_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with the ImageNet stem: a fifteenth of the arithmetic of the CIFAR one."""
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "checkpoint.safetensors", Stem.IMAGENET)
