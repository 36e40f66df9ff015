"""The road from a checkpoint to a served model: export, verify, describe, publish."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cifar10
from builder.export import onnx_export
from builder.publishing.repository import Model, Published, Repository
from builder.publishing.versions import CONFIG_FILE
from builder.quantization import onnx_runtime as for_cpu
from builder.quantization import speed
from builder.quantization import tensorrt as for_tensorrt
from builder.signature import BATCH_SIZES, SIGNATURE
from builder.triton_config import config_pbtxt
from builder.variants import Engine, Precision, Variant
from builder.verification import parity, record, reference
from cifar10 import DatasetNotFoundError, Split
from console.processor import instruction_set
from console.tensorrt_rtx import beside
from console.versions import MODEL_TOOLS, git_revision, package_versions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from builder.network.checkpoint import Checkpoint
    from builder.quantization.calibration import Calibration
    from builder.tensorrt.availability import PlanBuilder

logger = logging.getLogger(__name__)

VERIFICATION_IMAGES = 256
"""Images that every ONNX model answers before it is published, on the CPU."""

QUANTIZED_VERIFICATION_IMAGES = 1024
"""Images that a quantised ONNX model answers: its accuracy is tested, and not only how near its logits are."""

PLAN_VERIFICATION_IMAGES = 10_000
"""Images that every plan answers, on the GPU: enough to see a loss of a tenth of a point of accuracy."""

_NOTABLY_FASTER = 1.1

_LIMITS = {
    (Engine.ONNX_RUNTIME, Precision.FP32): parity.FP32_LIMITS,
    (Engine.ONNX_RUNTIME, Precision.TF32): parity.FP32_LIMITS,  # on the CPU, which knows no TF32
    (Engine.ONNX_RUNTIME, Precision.FP16): parity.FP16_LIMITS,
    (Engine.ONNX_RUNTIME, Precision.INT8): parity.INT8_LIMITS,
    (Engine.TENSORRT, Precision.FP32): parity.FP32_PLAN_LIMITS,
    (Engine.TENSORRT, Precision.TF32): parity.FP16_LIMITS,
    (Engine.TENSORRT, Precision.FP16): parity.FP16_LIMITS,
    (Engine.TENSORRT, Precision.INT8): parity.INT8_LIMITS,
    (Engine.TENSORRT, Precision.FP8): parity.INT8_LIMITS,
    (Engine.TENSORRT_RTX, Precision.FP16): parity.FP16_LIMITS,
    (Engine.TENSORRT_RTX, Precision.INT8): parity.INT8_LIMITS,
    (Engine.TENSORRT_RTX, Precision.FP8): parity.INT8_LIMITS,
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
        infer: runs it: images [N, 32, 32, 3] -> logits [N, 10]; None where nothing here can, and `unverified` says why.
        provenance: what only its maker knows.
        unverified: why it is published without being verified; empty for what is.
    """

    content: bytes
    infer: Callable[[NDArray[np.uint8]], NDArray[np.float32]] | None
    provenance: dict[str, Any] = field(default_factory=dict)
    unverified: str = ""


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
    scheduling: config_pbtxt.Scheduling | None = None,
    plans: Mapping[Engine, PlanBuilder] | None = None,
    calibration: Calibration | None = None,
) -> Iterator[tuple[Variant, Published, tuple[parity.Parity, ...]]]:
    """Build and publish models one by one, yielding each as it is published, with no parities where it is not verified.

    Args:
        source: the weights.
        variants: what to build.
        repository: where to; what NVIDIA's container cannot load goes into the one beside it.
        sample: images to verify on; each model takes the first `images_for` it.
        scheduling: the user's choices for the configurations.
        plans: what builds each engine that is a TensorRT; needed for such variants.
        calibration: of these weights; needed for quantised variants.

    Raises:
        TensorRTError, PlanError: a plan could not be built, or is not what was asked for.
        VerificationError: a model does not compute what the network computes; it and those after it are not published.
    """
    classifier = source.classifier()
    answers = reference.ask(classifier)
    exported = functools.cache(lambda precision: onnx_export.export(classifier, BATCH_SIZES, precision))
    if sample.labels is None:  # no photographs: those whose answers are clear, and known by now
        sample = Sample(sample.name, answers.images).head(len(sample.images))

    @functools.cache
    def expected(count: int) -> NDArray[np.float32]:
        images = sample.images[:count]
        return parity.reference_logits(classifier, images) if sample.labels is not None else answers.logits[:count]

    for variant in variants:
        made = _make(variant, exported, plans, calibration)
        target = repository if variant.engine.in_container else Repository(beside(repository.path), repository.keep)
        on_record = target.provenance_of(variant.name, variant.engine.model_file, made.content)
        used, earlier = sample.head(images_for(variant)), on_record.get("verification")
        parities, verification = _verify(variant, made, used, source.sha256, expected, earlier)
        labels = "".join(f"{name}\n" for name in SIGNATURE.class_names)
        configs = config_pbtxt.texts(variant, BATCH_SIZES, scheduling=scheduling)
        model = Model(
            name=variant.name,
            config=configs.pop(CONFIG_FILE),
            files={name: text.encode() for name, text in {config_pbtxt.LABELS_FILE: labels, **configs}.items()},
            version_files={
                variant.engine.model_file: made.content,
                reference.REFERENCE_FILE: reference.to_bytes(
                    answers, reference.SERVED_LIMITS[variant.precision], made.content
                ),
            },
            model_file=variant.engine.model_file,
            provenance={**_provenance(source, variant, verification), **made.provenance},
        )
        yield variant, target.publish(model), parities


def images_for(variant: Variant) -> int:
    """How many images a model is verified on."""
    if variant.engine is not Engine.ONNX_RUNTIME:
        return PLAN_VERIFICATION_IMAGES
    return QUANTIZED_VERIFICATION_IMAGES if variant.precision.quantized else VERIFICATION_IMAGES


def _make(
    variant: Variant,
    exported: Callable[[Precision], bytes],
    plans: Mapping[Engine, PlanBuilder] | None,
    calibration: Calibration | None,
) -> Made:
    logger.info("exporting %s", variant.name)
    noted: dict[str, Any] = {}
    if variant.precision.quantized:
        assert calibration is not None, "whoever asks for a quantised model brings a calibration"  # noqa: S101
        if variant.engine is Engine.ONNX_RUNTIME:
            return _make_for_cpu(variant, exported(Precision.FP32), calibration)
        onnx = for_tensorrt.quantize(exported(Precision.FP16), calibration, variant.precision)
        noted = {"quantization": calibration.record()}
    else:
        onnx = exported(variant.precision)
        if variant.engine is Engine.ONNX_RUNTIME:
            return Made(onnx, parity.onnx_runtime(onnx))
    assert plans is not None, "whoever asks for a plan brings TensorRT"  # noqa: S101
    builder = plans[variant.engine]
    plan = builder.compile(onnx, BATCH_SIZES, variant.precision)
    runner = None if builder.unverified else builder.runner(plan, SIGNATURE)
    return Made(plan.content, runner, {"plan": plan.info.as_json(), **noted}, builder.unverified)


def _make_for_cpu(variant: Variant, full: bytes, calibration: Calibration) -> Made:
    onnx = for_cpu.quantize(full, calibration)
    infer = parity.onnx_runtime(onnx)
    times = speed.times_as_fast(infer, parity.onnx_runtime(full))
    extensions = instruction_set()
    if times < _NOTABLY_FASTER:
        logger.info(
            "%s answers %.1f times as fast as FP32 on this machine (batch %d, %s), so FP32 serves it as well",
            variant.name, times, speed.BATCH_SIZE, extensions[0] if extensions else "unknown instruction set",
        )  # fmt: skip
    measured = {"batch_size": speed.BATCH_SIZE, "times_as_fast_as_fp32": round(times, 2), "cpu": extensions}
    return Made(onnx, infer, {"quantization": {**calibration.record(), "speed_where_built": measured}})


def _verify(
    variant: Variant,
    made: Made,
    sample: Sample,
    checkpoint: str,
    expected: Callable[[int], NDArray[np.float32]],
    earlier: Any,
) -> tuple[tuple[parity.Parity, ...], Mapping[str, Any]]:
    """Verify a model, unless this very file was; what was found, nothing where nothing here runs it, and its record."""
    if made.infer is None:
        return (), {"not_verified": made.unverified}
    under = record.circumstances(checkpoint, sample.name, sample.images)
    limits, count = _LIMITS[variant.engine, variant.precision], len(sample.images)
    if passed := record.passed(earlier, under, limits):
        logger.info("%s: the same file was verified on %d images at %s", variant.name, count, earlier["at"])
        return passed, earlier
    logger.info("verifying %s against PyTorch on %d images (%s)", variant.name, count, sample.name)
    parities = parity.verify(made.infer, sample.images, expected(count), limits, sample.labels)
    return parities, record.made_now(under, parities)


def _provenance(source: Checkpoint, variant: Variant, verification: Mapping[str, Any]) -> dict[str, object]:
    return {
        "engine": variant.engine.value,
        "precision": variant.precision.value,
        "built": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "builder": {"git_revision": git_revision(), "tools": package_versions(MODEL_TOOLS)},
        "checkpoint": {"sha256": source.sha256, **dataclasses.asdict(source.metadata)},
        "verification": verification,
    }
