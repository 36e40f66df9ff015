"""The answers that travel with a model: whoever serves it or asks it can see that it still computes the network.

`reference.npz` lies beside the model's file. The embedded server's backends compare with it before a model is ready
(server/backends/shared/reference_check.py), and the client where there is no dataset (client/images.py).
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

import cifar10
from builder.variants import Precision
from builder.verification import parity

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from builder.network.resnet import Classifier

REFERENCE_FILE = "reference.npz"

REFERENCE_IMAGES = 256

CANDIDATES = 1.5
"""So many are asked for each that is kept: a third of synthetic images the network decides by little. Eight bits tip
such an image without being wrong: of 256 as they come 92 % keep their class in INT8 (85 % as TensorRT quantises), of
256 that are decided clearly 100 % (97 %)."""

SERVED_LIMITS = {
    Precision.FP32: parity.FP32_PLAN_LIMITS,
    Precision.TF32: parity.FP16_LIMITS,
    Precision.FP16: parity.FP16_LIMITS,
    Precision.INT8: parity.INT8_LIMITS,
    Precision.FP8: parity.INT8_LIMITS,
}
"""What an answer may differ where a model is served. That is wider than what is asked before it is published: an ONNX
model is verified on the CPU, which knows neither TF32 nor the GPU's Winograd convolutions, and then served on a GPU.
"""


@dataclass(frozen=True)
class Answers:
    """Images and PyTorch's FP32 logits for them.

    Attributes:
        images: UINT8 [N, 32, 32, 3], synthetic: a repository carries no one's photographs.
        logits: FP32 [N, 10].
    """

    images: NDArray[np.uint8]
    logits: NDArray[np.float32]


def ask(classifier: Classifier, count: int = REFERENCE_IMAGES) -> Answers:
    """Ask the network itself, on the CPU, and keep the answers that are clear."""
    images = cifar10.synthetic_images(int(CANDIDATES * count))
    logits = parity.reference_logits(classifier, images)
    second, best = np.sort(logits, axis=1)[:, -2:].T
    clear = np.sort(np.argsort(second - best, kind="stable")[:count])
    return Answers(images[clear], logits[clear])


def to_bytes(answers: Answers, limits: parity.Limits, model: bytes) -> bytes:
    """Write `reference.npz`.

    Arrays: `images` UINT8 [N, 32, 32, 3]; `logits` FP32 [N, 10]; the scalars `max_relative_difference` (of any logit,
    over the largest |logit|) and `min_top1_agreement` (0..1), FP64, say what is still the same network;
    `model_sha256`, in hexadecimal, is that of the model's file: answers laid beside another model prove nothing.

    Args:
        answers: the network's.
        limits: what a served model may differ.
        model: the content of the model's file.
    """
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        images=answers.images,
        logits=answers.logits,
        max_relative_difference=np.float64(limits.max_relative_difference),
        min_top1_agreement=np.float64(limits.min_top1_agreement),
        model_sha256=np.str_(hashlib.sha256(model).hexdigest()),
    )
    return buffer.getvalue()
