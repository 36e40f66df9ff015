"""The model card: what the network is, how it was trained, how good it is, and where it stops."""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder.network.checkpoint import Metadata
from builder.network.resnet import Stem
from cifar10 import CLASS_NAMES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_TEMPLATE = """# ResNet18 for CIFAR-10, recipe `{recipe}`

| | |
|---|---|
| Network | torchvision ResNet18, {stem} stem, 10 classes, {start} |
| Trained on | {dataset}: {train_images:,} images (sha256 of the source `{sha256}`) |
| Recipe | `{recipe}`, {epochs} epochs, seed {seed}{teacher} |
| Device | {device}, PyTorch {torch} |
| Test accuracy | **{accuracy:.2f} %** ({correct:,} of {images:,}), Wilson 95 % interval {low:.2f} - {high:.2f} % |

The accuracy is that of the last epoch's weights as saved (FP16, computed in FP32): one view an image, no test-time
augmentation, and no choice of epoch by the test images.

## Accuracy by class

{classes}

## Limits

The images are 32x32 photographs of ten kinds of things; anything else is still put into one of the ten classes, often
with confidence. Larger images must be scaled down by the caller. The network is a benchmark's subject, not a product.
"""


def model_card(
    metadata: Metadata, device: str, train_images: int, labels: NDArray[np.int64], hits: NDArray[np.bool_]
) -> str:
    """Describe a finished run in Markdown.

    Args:
        metadata: the checkpoint's.
        device: what trained it.
        train_images: how many it learnt from.
        labels: of the test images, [N].
        hits: which of them the saved network classified correctly, [N].
    """
    from scipy.stats import binomtest

    interval = binomtest(int(hits.sum()), len(hits)).proportion_ci(method="wilson")
    rows = ["| class | accuracy | images |", "|---|---|---|"]
    for label, name in enumerate(CLASS_NAMES):
        of_class = hits[labels == label]
        if len(of_class):
            rows.append(f"| {name} | {100 * of_class.mean():.1f} % | {len(of_class):,} |")
    return _TEMPLATE.format(
        recipe=metadata.recipe,
        stem="CIFAR (3x3, stride 1, no max-pool)" if metadata.stem is Stem.CIFAR else "ImageNet",
        start="from ImageNet weights" if metadata.pretrained else "from random weights",
        dataset=metadata.dataset,
        train_images=train_images,
        sha256=metadata.dataset_sha256[:16],
        epochs=metadata.epochs,
        seed=metadata.seed,
        teacher=f"; learnt from the labels and from a teacher (sha256 `{metadata.teacher[:16]}`)"
        if metadata.teacher
        else "",
        device=device,
        torch=metadata.torch_version,
        accuracy=100 * hits.mean(),
        correct=hits.sum(),
        images=len(hits),
        low=100 * interval.low,
        high=100 * interval.high,
        classes="\n".join(rows),
    )
