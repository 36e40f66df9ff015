"""The model card: what the network is, how it was trained, how good it is, and where it stops."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from builder.checkpoint import Metadata
from builder.training import EVALUATION_BATCH, Images, Trainer
from cifar10 import CLASS_NAMES, Dataset

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TEMPLATE = """# ResNet18 for CIFAR-10, recipe `{recipe}`

| | |
|---|---|
| Network | torchvision ResNet18, {stem} stem, 10 classes, {start} |
| Trained on | {dataset}: {train_images:,} images (sha256 of the source `{sha256}`) |
| Recipe | `{recipe}`, {epochs} epochs, seed {seed} |
| Device | {device}, PyTorch {torch} |
| Test accuracy | **{accuracy:.2f} %** ({correct:,} of {images:,}), Wilson 95 % interval {low:.2f} - {high:.2f} % |

The accuracy is that of the last epoch, one view an image, no test-time augmentation, and no choice of epoch by the
test images.

## Accuracy by class

{classes}

## Limits

{dataset} holds 32x32 photographs of ten kinds of things; anything else is still put into one of the ten classes, often
with confidence. Larger images must be scaled down by the caller. The network is a benchmark's subject, not a product.
"""


def model_card(trainer: Trainer, metadata: Metadata, test: Dataset) -> str:
    """Describe a finished run in Markdown."""
    from scipy.stats import binomtest

    predicted = _predictions(trainer)
    hits = predicted == test.labels
    interval = binomtest(int(hits.sum()), len(hits)).proportion_ci(method="wilson")
    rows = ["| class | accuracy | images |", "|---|---|---|"]
    for label, name in enumerate(CLASS_NAMES):
        of_class = hits[test.labels == label]
        rows.append(f"| {name} | {100 * of_class.mean():.1f} % | {len(of_class):,} |" if len(of_class) else "")
    return _TEMPLATE.format(
        recipe=metadata.recipe,
        stem="CIFAR (3x3, stride 1, no max-pool)" if metadata.stem.value == "cifar" else "ImageNet",
        start="from ImageNet weights" if metadata.pretrained else "from random weights",
        dataset=metadata.dataset,
        train_images=len(trainer.train),
        sha256=metadata.dataset_sha256[:16],
        epochs=metadata.epochs,
        seed=metadata.seed,
        device=torch.cuda.get_device_name() if trainer.device.type == "cuda" else "CPU",
        torch=metadata.torch_version,
        accuracy=100 * hits.mean(),
        correct=hits.sum(),
        images=len(hits),
        low=100 * interval.low,
        high=100 * interval.high,
        classes="\n".join(filter(None, rows)),
    )


def _predictions(trainer: Trainer) -> NDArray[object]:  # type: ignore[type-var]
    images: Images = trainer.test
    classifier = trainer.tested.eval()
    device = trainer.device
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        parts = [classifier(part).argmax(1).cpu() for part in images.pixels.split(EVALUATION_BATCH)]
    return torch.cat(parts).numpy()
