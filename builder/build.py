"""The road from a checkpoint to a served model: export, verify, describe, publish."""

from __future__ import annotations

import dataclasses
import io
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import cifar10
from builder import onnx_export, triton_config, verification
from builder.environment import git_revision, tool_versions
from builder.repository import Model, Published, Repository
from builder.signature import BATCH_PLAN, SIGNATURE
from builder.variants import Engine, Precision, Variant
from cifar10 import DatasetNotFoundError, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from builder.checkpoint import Checkpoint
    from builder.plans import PlanBuilder
    from builder.resnet import Classifier

logger = logging.getLogger(__name__)

VERIFICATION_IMAGES = 256
"""Images that every ONNX model answers before it is published, on the CPU."""

PLAN_VERIFICATION_IMAGES = 10_000
"""Images that every plan answers, on the GPU: enough to see a loss of a tenth of a point of accuracy."""

REFERENCE_FILE = "reference.npz"

_LIMITS = {
    (Engine.ONNX_RUNTIME, Precision.FP32): verification.FP32_LIMITS,
    (Engine.ONNX_RUNTIME, Precision.TF32): verification.FP32_LIMITS,  # on the CPU, which knows no TF32
    (Engine.ONNX_RUNTIME, Precision.FP16): verification.FP16_LIMITS,
    (Engine.TENSORRT, Precision.FP32): verification.FP32_PLAN_LIMITS,
    (Engine.TENSORRT, Precision.TF32): verification.FP16_LIMITS,
    (Engine.TENSORRT, Precision.FP16): verification.FP16_LIMITS,
}


@dataclass(frozen=True)
class Sample:
    """Images to verify a model on.

    Attributes:
        name: what they are, for the record.
        images: UINT8 [N, 32, 32, 3].
        labels: class indices [N]; None for synthetic images.
    """

    name: str
    images: NDArray[np.uint8]
    labels: NDArray[np.integer] | None = None

    def head(self, n: int) -> Sample:
        """The first `n` images; all of them where there are fewer."""
        return Sample(self.name, self.images[:n], None if self.labels is None else self.labels[:n])


@dataclass(frozen=True)
class Made:
    """A model's file, before it is verified.

    Attributes:
        content: of the file.
        infer: runs it: images [N, 32, 32, 3] -> logits [N, 10].
        provenance: what only its maker knows.
    """

    content: bytes
    infer: Callable[[NDArray[np.uint8]], NDArray[np.float32]]
    provenance: dict[str, Any] = field(default_factory=dict)


def verification_sample(data: Path | None, count: int = VERIFICATION_IMAGES) -> Sample:
    """The first test images where a dataset is at hand, else synthetic ones; nothing is downloaded for this."""
    try:
        dataset = cifar10.load(Split.TEST, data, download=False).head(count)
    except DatasetNotFoundError:
        # without labels there is no accuracy to lose, and so nothing that many would show
        return Sample("synthetic images", cifar10.synthetic_images(min(count, VERIFICATION_IMAGES)))
    return Sample(f"{dataset.name}, test images", dataset.images, dataset.labels)


def build(
    source: Checkpoint,
    variants: tuple[Variant, ...],
    repository: Repository,
    sample: Sample,
    *,
    scheduling: triton_config.Scheduling | None = None,
    plans: PlanBuilder | None = None,
) -> Iterator[tuple[Variant, Published, tuple[verification.Parity, ...]]]:
    """Build and publish models one by one, yielding each as it is published.

    Args:
        source: the weights.
        variants: what to build.
        repository: where to.
        sample: images to verify on: all of them for a plan, the first `VERIFICATION_IMAGES` for the others.
        scheduling: the user's choices for the configurations.
        plans: needed when a variant's engine is TensorRT.

    Raises:
        TensorRTError, PlanError: a plan could not be built, or is not what was asked for.
        VerificationError: a model does not compute what the network computes; it and those after it are not published.
    """
    classifier = source.classifier()
    references: dict[int, NDArray[np.float32]] = {}
    for variant in variants:
        made = _make(variant, classifier, plans)
        used = sample if variant.engine is Engine.TENSORRT else sample.head(VERIFICATION_IMAGES)
        logger.info("verifying %s against PyTorch on %d images (%s)", variant.name, len(used.images), used.name)
        if len(used.images) not in references:
            references[len(used.images)] = verification.reference_logits(classifier, used.images)
        reference, limits = references[len(used.images)], _LIMITS[variant.engine, variant.precision]
        parities = verification.verify(made.infer, used.images, reference, limits, used.labels)
        model = Model(
            name=variant.name,
            config=triton_config.to_text(triton_config.model_config(variant, BATCH_PLAN, scheduling=scheduling)),
            files={triton_config.LABELS_FILE: "".join(f"{name}\n" for name in SIGNATURE.class_names).encode()},
            version_files={
                variant.engine.model_file: made.content,
                REFERENCE_FILE: _reference_file(source),
            },
            model_file=variant.engine.model_file,
            provenance={**_provenance(source, variant, used, parities), **made.provenance},
        )
        yield variant, repository.publish(model), parities


def _make(variant: Variant, classifier: Classifier, plans: PlanBuilder | None) -> Made:
    logger.info("exporting %s", variant.name)
    onnx = onnx_export.export(classifier, BATCH_PLAN, variant.precision)
    if variant.engine is Engine.ONNX_RUNTIME:
        return Made(onnx, verification.onnx_runtime(onnx))
    assert plans is not None, "whoever asks for a plan brings TensorRT"  # noqa: S101
    plan = plans.compile(onnx, BATCH_PLAN, variant.precision)
    return Made(plan.content, plans.runner(plan, SIGNATURE), {"plan": plan.info.as_json()})


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
