"""The checkpoint in the project, on real images."""

from __future__ import annotations

import numpy as np
import pytest

from builder import checkpoint, onnx_export
from builder.__main__ import DEFAULT_CHECKPOINT
from builder.signature import BATCH_PLAN
from builder.variants import Precision
from builder.verification import FP16_LIMITS, FP32_LIMITS, onnx_runtime, reference_logits, verify


@pytest.mark.parametrize(("precision", "limits"), [(Precision.FP32, FP32_LIMITS), (Precision.FP16, FP16_LIMITS)])
def test_it_classifies_real_images_and_so_does_its_export(cifar10_test, precision, limits):
    images, labels = np.array(cifar10_test.images[:128]), cifar10_test.labels[:128]
    loaded = checkpoint.load(DEFAULT_CHECKPOINT)
    classifier = loaded.classifier()
    reference = reference_logits(classifier, images)
    # 128 images at 92 %: fewer than 85 % right happens once in 300 draws, and these images never change
    assert (reference.argmax(axis=1) == labels).mean() > 0.85
    verify(onnx_runtime(onnx_export.export(classifier, BATCH_PLAN, precision)), images, reference, limits)
