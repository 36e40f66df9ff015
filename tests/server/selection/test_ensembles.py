"""Ensembles and sequences: what Triton's core brings, over this project's backend; the real tritonserver."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as grpcclient

from builder.export import onnx_export
from builder.network import checkpoint
from builder.network.resnet import Stem
from builder.signature import BATCH_SIZES
from builder.variants import VARIANTS
from builder.verification.parity import reference_logits
from cifar10 import IMAGE_SHAPE, synthetic_images
from tests.builder.conftest import write_checkpoint
from tests.builder.triton_config.test_config_pbtxt import GOLDENS
from tests.server.backends.onnxruntime.configurations import SEQUENCE
from tests.support import graphs
from tests.support.models import PLATFORM, add_classifier, add_doubler, add_model, tensor
from tests.support.triton import require_server, run_server, start_server

pytestmark = pytest.mark.triton

IMAGES = tensor("input", "images", "TYPE_UINT8", IMAGE_SHAPE)
LOGITS = tensor("output", "logits", "TYPE_FP32", [10])
MIRROR = """
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        answers = []
        for request in requests:
            images = pb_utils.get_input_tensor_by_name(request, "images").as_numpy()
            mirrored = np.ascontiguousarray(images[:, :, ::-1])
            answers.append(pb_utils.InferenceResponse([pb_utils.Tensor("mirrored", mirrored)]))
        return answers
"""


def step(model: str, inputs: dict[str, str], outputs: dict[str, str], version: int = -1) -> str:
    maps = [f'input_map {{ key: "{key}" value: "{value}" }}' for key, value in inputs.items()]
    maps += [f'output_map {{ key: "{key}" value: "{value}" }}' for key, value in outputs.items()]
    return f'step {{ model_name: "{model}" model_version: {version} {" ".join(maps)} }}\n'


def add_ensemble(repository: Path, name: str, tensors: str, *steps: str) -> None:
    scheduling = f"ensemble_scheduling {{\n{''.join(steps)}}}\n"
    add_model(repository, name, 'platform: "ensemble"\nmax_batch_size: 8\n' + tensors + scheduling)


def infer(url: str, model: str, images: np.ndarray) -> np.ndarray:
    given = grpcclient.InferInput("images", images.shape, "UINT8")
    given.set_data_from_numpy(np.ascontiguousarray(images))
    with grpcclient.InferenceServerClient(url) as client:
        return client.infer(model, [given], client_timeout=60).as_numpy("logits")


@pytest.mark.slow
def test_ensembles_over_the_network_answer_as_pytorch(tmp_path):
    """One over resnet18_onnx alone, one with a step in Python, one over that one; one over a plan is left out."""
    require_server()
    classifier = checkpoint.load(write_checkpoint(tmp_path / "checkpoint.safetensors", Stem.IMAGENET)).classifier()
    repository = tmp_path / "models"
    shutil.copytree(GOLDENS / "resnet18_onnx", repository / "resnet18_onnx")
    (repository / "resnet18_onnx/1").mkdir()
    (repository / "resnet18_onnx/labels.txt").write_text("".join(f"class {index}\n" for index in range(10)))
    onnx = onnx_export.export(classifier, BATCH_SIZES, VARIANTS["resnet18_onnx"].precision)
    (repository / "resnet18_onnx/1/model.onnx").write_bytes(onnx)
    mirrored = tensor("output", "mirrored", "TYPE_UINT8", IMAGE_SHAPE)
    path = add_model(repository, "mirror", 'backend: "python"\nmax_batch_size: 8\n' + IMAGES + mirrored)
    path.with_name("model.py").write_text(MIRROR)
    add_model(repository, "plan", 'platform: "tensorrt_plan"\n').with_name("model.plan").write_bytes(b"a plan")
    network = {"images": "IMAGES"}, {"logits": "LOGITS"}
    outside = IMAGES.replace("images", "IMAGES") + LOGITS.replace("logits", "LOGITS")
    add_ensemble(
        repository, "alone", IMAGES + LOGITS, step("resnet18_onnx", {"images": "images"}, {"logits": "logits"})
    )
    add_ensemble(
        repository,
        "mirrored",
        IMAGES + LOGITS,
        step("mirror", {"images": "images"}, {"mirrored": "turned"}),
        step("resnet18_onnx", {"images": "turned"}, {"logits": "logits"}),
    )
    add_ensemble(repository, "nested", IMAGES + LOGITS, step("mirrored", {"images": "images"}, {"logits": "logits"}))
    add_ensemble(repository, "over_plan", outside, step("plan", *network))
    images = synthetic_images(16)
    straight = reference_logits(classifier, images)
    turned = reference_logits(classifier, np.ascontiguousarray(images[:, :, ::-1]))
    with start_server(repository) as served, ThreadPoolExecutor(4) as pool:
        assert set(served.models) == {"resnet18_onnx", "mirror", "alone", "mirrored", "nested"}
        assert "its step 'plan' is not served" in served.left_out["over_plan"]
        for model, reference in (("alone", straight), ("mirrored", turned), ("nested", turned)):
            parts = [slice(start, start + 4) for start in range(0, 16, 4)]  # different images in flight
            answers = pool.map(lambda part, name=model: infer(served.grpc, name, images[part]), parts)
            for part, answer in zip(parts, answers, strict=True):
                np.testing.assert_allclose(answer, reference[part], rtol=1e-3, atol=1e-3)


def test_an_ensemble_whose_step_fails_to_load_is_left_out_with_it(tmp_path):
    add_doubler(tmp_path)
    path = add_doubler(tmp_path, "corrupt")
    path.write_bytes(path.read_bytes()[:40])
    x, y = tensor("input", "x", "TYPE_FP32", [-1]), tensor("output", "y", "TYPE_FP32", [-1])
    for model in ("doubler", "corrupt"):
        add_ensemble(tmp_path, f"over_{model}", x + y, step(model, {"x": "x"}, {"y": "y"}))
    with start_server(tmp_path) as served:
        assert set(served.models) == {"doubler", "over_doubler"}
        assert "Protobuf parsing failed" in served.left_out["corrupt"]
        assert "depends on 'corrupt' which has no loaded version" in served.left_out["over_corrupt"]
    result = run_server(f"--repository={tmp_path}", "--load=over_corrupt")
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) <= 2


TENSORS = IMAGES + LOGITS
STEPS = {
    "the_newest": ("both", -1, 9, ""),
    "the_newest_by_number": ("both", 2, 9, ""),
    "an_older_one": ("both", 1, 10, ""),
    "one_that_is_not_there": ("both", 7, None, "depends on 'both' whose required version 7 is not loaded"),
    "one_that_is_not_served": ("latest", 1, None, "depends on 'latest' whose required version 1 is not loaded"),
    "the_only_one_that_is_served": ("latest", 2, 9, ""),
    "one_that_fails_to_load": ("half", 2, None, "depends on 'half' which has no loaded version"),
    "one_beside_it": ("half", 1, None, "depends on 'half' which has no loaded version"),
}
"""Name -> model and version of its step, what it computes the class modulo, and why it is not served."""


def add_versions(repository: Path, name: str, policy: str) -> Path:
    """A classifier whose version 1 computes the class modulo 10, and version 2 modulo 9; the path of the second."""
    first = add_classifier(repository, name, config=f"version_policy {{ {policy} }}\n")
    other = add_classifier(repository.with_name("elsewhere"), name, modulus=9)
    shutil.copytree(other.parent, first.parents[1] / "2")
    return first.parents[1] / "2" / other.name


@pytest.fixture(scope="module")
def versioned(tmp_path_factory):
    """Ensembles over single versions of a model."""
    path = tmp_path_factory.mktemp("versioned") / "models"
    add_versions(path, "both", "all { }")
    add_versions(path, "latest", "latest { num_versions: 1 }")
    add_versions(path, "half", "all { }").write_bytes(b"bad")
    for name, (model, version, _, _) in STEPS.items():
        add_ensemble(path, name, TENSORS, step(model, {"images": "images"}, {"logits": "logits"}, version))
    with start_server(path) as served:
        yield served


@pytest.mark.parametrize("name", STEPS)
def test_a_step_that_names_a_version_gets_that_one_or_the_ensemble_is_left_out(versioned, name):
    _, _, modulus, why = STEPS[name]
    if modulus is None:
        assert why in versioned.left_out[name]
        assert name not in versioned.models
        return
    assert name in versioned.models
    images = np.broadcast_to(np.arange(20, 28, dtype=np.uint8)[:, None, None, None], (8, *IMAGE_SHAPE))
    answers = infer(versioned.grpc, name, images)
    assert answers.argmax(1).tolist() == [value % modulus for value in range(20, 28)]


def test_a_wanted_ensemble_over_a_version_that_is_not_there_is_one_line(tmp_path):
    add_versions(tmp_path / "models", "both", "all { }")
    add_ensemble(tmp_path / "models", "over", TENSORS, step("both", {"images": "images"}, {"logits": "logits"}, 7))
    result = run_server(f"--repository={tmp_path / 'models'}", "--load=over")
    assert result.returncode == 1
    assert "over: " in result.stderr
    assert "version 7 is not loaded" in result.stderr
    assert len(result.stderr.splitlines()) <= 2


def test_a_loaded_ensemble_brings_its_steps(tmp_path):
    add_doubler(tmp_path)
    x, y = tensor("input", "x", "TYPE_FP32", [-1]), tensor("output", "y", "TYPE_FP32", [-1])
    add_ensemble(tmp_path, "ensemble", x + y, step("doubler", {"x": "x"}, {"y": "y"}))
    with start_server(tmp_path, "--load=ensemble") as served:
        given = grpcclient.InferInput("x", [1, 3], "FP32")
        given.set_data_from_numpy(np.array([[1, 2, 3]], np.float32))
        with grpcclient.InferenceServerClient(served.grpc) as client:
            answer = client.infer("ensemble", [given], client_timeout=30).as_numpy("y")
        assert answer.tolist() == [[2, 4, 6]]


@pytest.mark.parametrize("strategy", ["direct { }", "oldest { max_candidate_sequences: 4 }"])
def test_each_sequence_gets_its_own_controls(strategy, tmp_path):
    """Four sequences at once; each answer tells by its value which sequence it is of, and whether it began it."""
    config = SEQUENCE.replace("sequence_batching {", f"sequence_batching {{ {strategy} ")
    graphs.sequence(add_model(tmp_path, "sequence", PLATFORM + config + "instance_group { kind: KIND_CPU }\n"))

    def run(correlation: int) -> list[float]:
        answers = []
        with grpcclient.InferenceServerClient(served.grpc) as client:
            for number in range(5):
                given = grpcclient.InferInput("x", [1, 4], "FP32")
                given.set_data_from_numpy(np.full((1, 4), number, np.float32))
                settings = {"sequence_id": correlation, "sequence_start": number == 0, "sequence_end": number == 4}
                answer = client.infer("sequence", [given], client_timeout=30, **settings).as_numpy("y")
                assert answer.shape == (1, 4)
                answers.append(float(answer[0, 0]))
        return answers

    with start_server(tmp_path) as served, ThreadPoolExecutor(4) as pool:
        for correlation, answers in zip(range(1, 5), pool.map(run, range(1, 5)), strict=True):
            assert answers == [number + 1000 * (number == 0) + 10 * correlation for number in range(5)]
