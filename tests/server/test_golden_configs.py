"""The configurations the builder writes, served by the real Triton with nothing filled in by it."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import tritonclient.grpc as grpcclient

from builder import checkpoint, onnx_export
from builder.resnet import Stem
from builder.signature import BATCH_PLAN
from builder.variants import VARIANTS, Engine
from builder.verification import reference_logits
from cifar10 import synthetic_images
from tests.builder.conftest import write_checkpoint
from tests.builder.test_triton_config import GOLDENS
from tests.support.triton import require_server, start_server

pytestmark = [pytest.mark.triton, pytest.mark.slow]

ONNX = [variant for variant in VARIANTS.values() if variant.engine is Engine.ONNX_RUNTIME]


def test_the_onnx_models_load_as_configured_and_answer_as_pytorch(tmp_path):
    require_server()
    classifier = checkpoint.load(write_checkpoint(tmp_path / "checkpoint.safetensors", Stem.IMAGENET)).classifier()
    repository = tmp_path / "models"
    for variant in ONNX:
        directory = repository / variant.name
        shutil.copytree(GOLDENS / variant.name, directory)
        (directory / "labels.txt").write_text("".join(f"class {index}\n" for index in range(10)))
        (directory / "1").mkdir()
        (directory / "1" / "model.onnx").write_bytes(onnx_export.export(classifier, BATCH_PLAN, variant.precision))
    images = synthetic_images(5)
    reference = reference_logits(classifier, images)
    with start_server(repository) as served, grpcclient.InferenceServerClient(served.grpc) as client:
        assert sorted(served.models) == sorted(variant.name for variant in ONNX)
        for variant in ONNX:
            config = client.get_model_config(variant.name).config
            assert config.parameters["cudnn_conv_algo_search"].string_value == "1"
            tensor = grpcclient.InferInput("images", images.shape, "UINT8")
            tensor.set_data_from_numpy(images)
            logits = client.infer(variant.name, [tensor]).as_numpy("logits")
            np.testing.assert_allclose(logits, reference, atol=0.02 * np.abs(reference).max())
