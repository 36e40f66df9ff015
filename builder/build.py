"""The road from a checkpoint to a served model: export, verify, describe, publish."""

from __future__ import annotations

import dataclasses
import io
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import cifar10
from builder import onnx_export, triton_config, verification
from builder.environment import git_revision, tool_versions
from builder.repository import Model, Published, Repository
from builder.signature import BATCH_PLAN, SIGNATURE
from builder.variants import Precision, Variant
from cifar10 import DatasetNotFoundError, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from builder.checkpoint import Checkpoint

logger = logging.getLogger(__name__)

VERIFICATION_IMAGES = 256
"""Images that every built model answers before it is published."""

REFERENCE_FILE = "reference.npz"

_LIMITS = {Precision.FP32: verification.FP32_LIMITS, Precision.FP16: verification.FP16_LIMITS}


@dataclass(frozen=True)
class Sample:
    """Images to verify a model on.

    Attributes:
        name: what they are, for the record.
        images: UINT8 [N, 32, 32, 3].
    """

    name: str
    images: NDArray[np.uint8]


def verification_sample(data: Path | None, count: int = VERIFICATION_IMAGES) -> Sample:
    """The first test images where a dataset is at hand, else synthetic ones; nothing is downloaded for this."""
    try:
        dataset = cifar10.load(Split.TEST, data, download=False).head(count)
    except DatasetNotFoundError:
        return Sample("synthetic images", cifar10.synthetic_images(count))
    return Sample(f"{dataset.name}, test images", dataset.images)


def build(
    source: Checkpoint,
    variants: tuple[Variant, ...],
    repository: Repository,
    sample: Sample,
    *,
    max_queue_size: int = 0,
) -> Iterator[tuple[Variant, Published, tuple[verification.Parity, ...]]]:
    """Build and publish models one by one, yielding each as it is published.

    Raises:
        VerificationError: a model does not compute what the network computes; it and those after it are not published.
    """
    classifier = source.classifier()
    reference = verification.reference_logits(classifier, sample.images)
    for variant in variants:
        logger.info("exporting %s", variant.name)
        content = onnx_export.export(classifier, BATCH_PLAN, variant.precision)
        logger.info("verifying %s against PyTorch on %d images (%s)", variant.name, len(sample.images), sample.name)
        limits = _LIMITS[variant.precision]
        parities = verification.verify(verification.onnx_runtime(content), sample.images, reference, limits)
        model = Model(
            name=variant.name,
            config=triton_config.to_text(
                triton_config.model_config(variant, BATCH_PLAN, max_queue_size=max_queue_size)
            ),
            files={triton_config.LABELS_FILE: "".join(f"{name}\n" for name in SIGNATURE.class_names).encode()},
            version_files={
                variant.engine.model_file: content,
                REFERENCE_FILE: _reference_file(source),
            },
            model_file=variant.engine.model_file,
            provenance=_provenance(source, variant, sample, parities),
        )
        yield variant, repository.publish(model), parities


def _reference_file(source: Checkpoint) -> bytes:
    """Synthetic images and PyTorch's FP32 logits for them: a client without a dataset compares against these.

    Arrays: `images` UINT8 [N, 32, 32, 3], `logits` FP32 [N, 10].
    """
    images = cifar10.synthetic_images(VERIFICATION_IMAGES)
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer, images=images, logits=verification.reference_logits(source.classifier(), images), allow_pickle=False
    )
    return buffer.getvalue()


def _provenance(
    source: Checkpoint, variant: Variant, sample: Sample, parities: tuple[verification.Parity, ...]
) -> dict[str, object]:
    return {
        "engine": variant.engine.value,
        "precision": variant.precision.value,
        "built": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "builder": {"git_revision": git_revision(), "tools": tool_versions()},
        "checkpoint": {"sha256": source.sha256, **dataclasses.asdict(source.metadata)},
        "verification": {
            "images": sample.name,
            "against": "PyTorch FP32, CPU",
            "batches": [dataclasses.asdict(parity) for parity in parities],
        },
    }
