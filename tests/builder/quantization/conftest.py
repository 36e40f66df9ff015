"""A network whose graph and calibration are made once for all tests of quantisation."""

from __future__ import annotations

import pytest

from builder.export import onnx_export
from builder.network import checkpoint
from builder.quantization import ranges
from builder.signature import BATCH_SIZES
from builder.variants import Precision
from cifar10 import Dataset, Split, synthetic_images

IMAGES = 64


@pytest.fixture(scope="session")
def training() -> Dataset:
    """Synthetic images that stand for the training images: what is tested here does not depend on their content."""
    images = synthetic_images(IMAGES)
    return Dataset(images, images[:, 0, 0, 0].astype("int64") % 10, "CIFAR-10", "0" * 64, Split.TRAIN)


@pytest.fixture(scope="session")
def source(checkpoint_file):
    return checkpoint.load(checkpoint_file)


@pytest.fixture(scope="session")
def exported(source):
    """Precision -> exported graph."""
    classifier = source.classifier()
    return {
        precision: onnx_export.export(classifier, BATCH_SIZES, precision)
        for precision in (Precision.FP32, Precision.FP16)
    }


@pytest.fixture(scope="session")
def calibrated(source, exported, training):
    return ranges.measure(exported[Precision.FP32], source.sha256, training)
