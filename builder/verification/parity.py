"""Is a built model good enough to publish? Compare what it computes with what PyTorch computes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from builder.errors import VerificationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from builder.network.resnet import Classifier

VERIFIED_SIZES = (1, 7, 64)
"""The smallest, an odd one, and the size the engines are tuned for."""


@dataclass(frozen=True)
class Parity:
    """How far an engine's answers are from the reference.

    Attributes:
        batch_size: images a request.
        images: compared.
        max_abs_difference: largest |engine - reference| over all logits.
        max_relative_difference: the same, over the largest |reference| of all.
        top1_agreement: share of images given the same class, 0..1.
        accuracy: the engine's top-1, 0..1; None without labels.
        reference_accuracy: the reference's top-1; None without labels.
        lost: images that only the reference classifies right; None without labels.
        gained: images that only the engine classifies right; None without labels.
    """

    batch_size: int
    images: int
    max_abs_difference: float
    max_relative_difference: float
    top1_agreement: float
    accuracy: float | None = None
    reference_accuracy: float | None = None
    lost: int | None = None
    gained: int | None = None


@dataclass(frozen=True)
class Limits:
    """What is still good enough.

    Attributes:
        max_relative_difference: of any logit, over the largest |reference|: rounding grows with the logits.
        min_top1_agreement: 0..1.
        max_accuracy_drop: 0..1, where labels are at hand.
        loss_p_value: where labels are at hand, a loss of accuracy is refused when chance explains it with less than
            this probability (one-sided exact McNemar test); None for no such test.
    """

    max_relative_difference: float
    min_top1_agreement: float
    max_accuracy_drop: float = 0.001
    loss_p_value: float | None = None


FP32_LIMITS = Limits(max_relative_difference=1e-4, min_top1_agreement=1.0)
"""FP32 engines add in another order, which moves a logit by about 1e-6 of the largest; a hundred times that is a bug.
"""


FP32_PLAN_LIMITS = Limits(max_relative_difference=1e-3, min_top1_agreement=0.998)
"""TensorRT may choose Winograd convolutions, which trade digits of FP32 for fewer multiplications."""

FP16_LIMITS = Limits(max_relative_difference=2e-2, min_top1_agreement=0.998)
"""FP16 keeps 11 bits: twenty layers move a logit by some 1e-3 of the largest, and may tip an image that was a tie."""


INT8_LIMITS = Limits(max_relative_difference=0.35, min_top1_agreement=0.90, max_accuracy_drop=0.01, loss_p_value=0.01)
"""Eight bits keep 256 steps of a tensor's range, and what exceeds it is cut off. Of two checkpoints' logits none moved
by more than 0.31 of the largest on photographs, and 0.31 on synthetic images, which are unlike those they were
calibrated on; of the clear ones among those (`reference.ask`) 3.5 % at most change class. A wrong scale, a saturating
kernel or a mix-up of rows does far more: the next image's agree in 26 %, and differ by 1.2 of the largest logit. On
photographs it is the accuracies that count, and there the paired test says whether a loss is more than chance."""


def reference_logits(classifier: Classifier, images: NDArray[np.uint8], batch_size: int = 64) -> NDArray[np.float32]:
    """PyTorch's FP32 logits [N, 10] for raw images [N, 32, 32, 3], on the CPU."""
    classifier = classifier.cpu().eval()
    with torch.inference_mode():
        parts = [classifier(part) for part in torch.from_numpy(np.array(images)).split(batch_size)]
    return torch.cat(parts).numpy()


def compare(
    logits: NDArray[np.float32],
    reference: NDArray[np.float32],
    batch_size: int,
    labels: NDArray[np.integer] | None = None,
) -> Parity:
    """Compare logits [N, C] with the reference's, and both with the labels [N] where there are any.

    Raises:
        VerificationError: the shapes differ, or a logit is NaN or infinite.
    """
    if logits.shape != reference.shape:
        raise VerificationError(f"logits at batch {batch_size}: expected {reference.shape}, found {logits.shape}")
    if not np.isfinite(logits).all():
        broken = int((~np.isfinite(logits)).any(axis=1).sum())
        raise VerificationError(f"{broken} of {len(logits)} answers at batch {batch_size} hold NaN or infinity")
    difference, largest = (float(np.max(np.abs(values))) for values in (logits - reference, reference))
    return Parity(
        batch_size=batch_size,
        images=len(logits),
        max_abs_difference=difference,
        max_relative_difference=difference / max(largest, float(np.finfo(np.float32).tiny)),
        top1_agreement=float((logits.argmax(axis=1) == reference.argmax(axis=1)).mean()),
        accuracy=None if labels is None else float((logits.argmax(axis=1) == labels).mean()),
        reference_accuracy=None if labels is None else float((reference.argmax(axis=1) == labels).mean()),
        **_discordant(logits, reference, labels),
    )


def _discordant(
    logits: NDArray[np.float32], reference: NDArray[np.float32], labels: NDArray[np.integer] | None
) -> dict[str, int]:
    if labels is None:
        return {}
    right, reference_right = (values.argmax(axis=1) == labels for values in (logits, reference))
    return {"lost": int((reference_right & ~right).sum()), "gained": int((right & ~reference_right).sum())}


def verify(
    infer: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
    images: NDArray[np.uint8],
    reference: NDArray[np.float32],
    limits: Limits,
    labels: NDArray[np.integer] | None = None,
) -> tuple[Parity, ...]:
    """Run an engine over all images at several batch sizes and compare every answer.

    Args:
        infer: the engine: images [N, 32, 32, 3] -> logits [N, 10].
        images: raw images.
        reference: PyTorch's FP32 logits for them.
        limits: what is good enough.
        labels: the images' classes, to compare accuracies too.

    Raises:
        VerificationError: a limit is exceeded at some batch size.
    """
    measured = []
    for size in VERIFIED_SIZES:
        starts = range(0, len(images), size)
        logits = np.concatenate([infer(images[start : start + size]) for start in starts])
        parity = compare(logits, reference, size, labels)
        judge(parity, limits)
        measured.append(parity)
    return tuple(measured)


def judge(parity: Parity, limits: Limits) -> None:
    """Say whether a comparison is good enough.

    Raises:
        VerificationError: a limit is exceeded.
    """
    far = parity.max_relative_difference > limits.max_relative_difference
    if far or parity.top1_agreement < limits.min_top1_agreement:
        raise VerificationError(
            f"at batch {parity.batch_size} the model differs from PyTorch: largest logit difference "
            f"{parity.max_abs_difference:.2e}, {parity.max_relative_difference:.1e} of the largest logit "
            f"(limit {limits.max_relative_difference:.0e}); top-1 agreement {100 * parity.top1_agreement:.2f} % "
            f"(limit {100 * limits.min_top1_agreement:.2f} %)",
            "the model was not published; the last good version stays",
        )
    _check_accuracy(parity, limits)
    _check_paired(parity, limits)


def _check_accuracy(parity: Parity, limits: Limits) -> None:
    if parity.accuracy is None or parity.reference_accuracy is None:
        return
    drop = parity.reference_accuracy - parity.accuracy
    if drop > limits.max_accuracy_drop + 1e-9:  # the shares are rounded
        accuracies = f"{100 * parity.accuracy:.2f} % instead of {100 * parity.reference_accuracy:.2f} %"
        raise VerificationError(
            f"at batch {parity.batch_size} the model is less accurate than PyTorch: "
            f"{accuracies} of {parity.images} images "
            f"(limit: a drop of {100 * limits.max_accuracy_drop:.2f} points)",
            "the model was not published; the last good version stays",
        )


def _check_paired(parity: Parity, limits: Limits) -> None:
    if limits.loss_p_value is None or parity.lost is None or parity.gained is None:
        return
    chance = loss_p_value(parity.lost, parity.gained)
    if chance < limits.loss_p_value:
        raise VerificationError(
            f"at batch {parity.batch_size} the model is less accurate than PyTorch: {parity.lost} of {parity.images} "
            f"images lost and {parity.gained} gained, which chance explains with p = {chance:.1e} "
            f"(limit {limits.loss_p_value:g})",
            "the model was not published; the last good version stays",
        )


def loss_p_value(lost: int, gained: int) -> float:
    """How often two equally accurate models would show this loss or a larger one: the one-sided exact McNemar test."""
    n = lost + gained
    return float(sum(math.comb(n, k) for k in range(lost, n + 1)) / 2**n)


def onnx_runtime(model: bytes) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """An ONNX model as a function, executed by ONNX Runtime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})[0]
