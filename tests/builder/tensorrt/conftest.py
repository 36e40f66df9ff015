"""The network as ONNX, exported once for all tests of plans: it repeats bit for bit, and takes seconds."""

from __future__ import annotations

import pytest

from builder.export import onnx_export
from builder.network import checkpoint
from builder.signature import BATCH_SIZES
from builder.variants import Precision

PRECISIONS = (Precision.FP32, Precision.TF32, Precision.FP16)
"""Those whose graphs need nothing but the network."""


@pytest.fixture(scope="session")
def models(checkpoint_file):
    """Precision -> ONNX model of the untrained network."""
    classifier = checkpoint.load(checkpoint_file).classifier()
    return {precision: onnx_export.export(classifier, BATCH_SIZES, precision) for precision in PRECISIONS}
