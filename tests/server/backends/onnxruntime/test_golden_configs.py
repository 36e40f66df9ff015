"""The configurations the builder writes, each served by the real Triton by its name, with nothing filled in by it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as grpcclient

from builder.export import onnx_export
from builder.network import checkpoint
from builder.network.resnet import Stem
from builder.signature import BATCH_SIZES
from builder.triton_config.places import Place
from builder.variants import VARIANTS, Engine, Precision
from builder.verification.parity import reference_logits
from cifar10 import synthetic_images
from console.triton_configuration import summary
from server.selection.places import has_gpu
from tests.builder.conftest import write_checkpoint
from tests.builder.triton_config.test_config_pbtxt import GOLDENS
from tests.support.triton import require_server, run_server, start_server

pytestmark = [pytest.mark.triton, pytest.mark.slow]

ONNX = [variant for variant in VARIANTS.values() if variant.engine is Engine.ONNX_RUNTIME]


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "checkpoint.safetensors"
    return checkpoint.load(write_checkpoint(path, Stem.IMAGENET)).classifier()


@pytest.fixture(scope="module")
def repository(tmp_path_factory, classifier):
    """The golden configurations of the ONNX models, with a network of the same signature."""
    repository = tmp_path_factory.mktemp("golden") / "models"
    for variant in ONNX:
        directory = repository / variant.name
        shutil.copytree(GOLDENS / variant.name, directory)
        (directory / "labels.txt").write_text("".join(f"class {index}\n" for index in range(10)))
        (directory / "1").mkdir()
        (directory / "1" / "model.onnx").write_bytes(onnx_export.export(classifier, BATCH_SIZES, variant.precision))
    return repository


def without_a_gpu(repository: Path, copy: Path) -> Path:
    """A copy whose instances run on the CPU: this machine's stand-in for a place with a GPU."""
    shutil.copytree(repository, copy)
    for path in copy.rglob("*.pbtxt"):
        path.write_text(path.read_text().replace("KIND_GPU", "KIND_CPU"))
    return copy


PLACES = {
    Place.PLAIN: {"instances": {"CPU": 1}, "dynamic_batching": False, "warm_up": 1, "cuda_graphs": False},
    Place.CPU: {"instances": {"CPU": 1}, "dynamic_batching": True, "warm_up": 1, "cuda_graphs": False},
    Place.GPU_CONTAINER: {"instances": {"CPU": 4}, "dynamic_batching": False, "warm_up": 9, "cuda_graphs": False},
    Place.GPU_EMBEDDED: {"instances": {"CPU": 1}, "dynamic_batching": True, "warm_up": 9, "cuda_graphs": True},
}


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.value or "plain")
def test_the_onnx_models_load_in_every_place_as_configured_and_answer_as_pytorch(
    repository, classifier, tmp_path, place
):
    require_server()
    if place in (Place.GPU_CONTAINER, Place.GPU_EMBEDDED):
        repository = without_a_gpu(repository, tmp_path / "models")
    images = synthetic_images(5)
    reference = reference_logits(classifier, images)
    with (
        start_server(repository, f"--model-config-name={place.value}") as served,
        grpcclient.InferenceServerClient(served.grpc) as client,
    ):
        assert sorted(served.models) == sorted(variant.name for variant in ONNX)
        for variant in ONNX:
            found = summary(client.get_model_config(variant.name, as_json=True)["config"])
            expected = PLACES[Place.CPU if variant.precision is Precision.INT8 else place]
            assert {**{name: found[name] for name in expected}, "warm_up": len(found["warm_up"])} == expected
            tensor = grpcclient.InferInput("images", images.shape, "UINT8")
            tensor.set_data_from_numpy(images)
            logits = client.infer(variant.name, [tensor]).as_numpy("logits")
            np.testing.assert_allclose(logits, reference, atol=0.02 * np.abs(reference).max())
            classes = [grpcclient.InferRequestedOutput("logits", class_count=1)]
            label = client.infer(variant.name, [tensor], outputs=classes).as_numpy("logits")[0, 0]
            assert label.decode().split(":")[2].startswith("class "), "labels.txt counts for every configuration"


def test_a_place_with_a_gpu_is_refused_in_one_line_where_there_is_none(repository):
    if has_gpu():
        pytest.skip("this machine has a GPU")
    floating = "--load=resnet18_onnx"  # a quantised model has its instances on the CPU in every place
    done = run_server(f"--repository={repository}", floating, "--model-config-name=gpu_container", "--", "true")
    assert done.returncode == 1
    assert "its instances are KIND_GPU and this machine has no NVIDIA GPU" in done.stderr


def test_the_launcher_says_which_configuration_is_read_and_a_model_that_lacks_it(repository, tmp_path):
    models = tmp_path / "models"
    shutil.copytree(repository, models)
    shutil.rmtree(models / "resnet18_onnx_tf32" / "configs")
    if not has_gpu():
        done = run_server(f"--repository={models}", "--", "true")
        assert "configuration: configs/cpu.pbtxt (by what this machine has)" in done.stderr
    done = run_server(f"--repository={models}", "--model-config-name=cpu", "--", "true")
    assert done.returncode == 0
    assert "configs/cpu.pbtxt (as asked); config.pbtxt of resnet18_onnx_tf32, for want of it" in done.stderr
    done = run_server(f"--repository={models}", "--model-config-name=mine", "--", "true")
    assert "configuration: config.pbtxt (no model has configs/mine.pbtxt)" in done.stderr
