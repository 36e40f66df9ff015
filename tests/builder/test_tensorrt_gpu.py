"""The same on real TensorRT and a real GPU, for whoever has them: `pytest -m gpu`."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from builder import checkpoint, onnx_export, verification
from builder.__main__ import DEFAULT_CHECKPOINT, parser
from builder.build import PLAN_VERIFICATION_IMAGES, verification_sample
from builder.errors import PlanError, TensorRTError
from builder.plans import prepare
from builder.signature import BATCH_PLAN, SIGNATURE
from builder.tensorrt.engine import LoadedPlan
from builder.tensorrt.machine import find_gpu, load_tensorrt, tensorrt_version
from builder.tensorrt.network import HardwareCompatibility, PlanOptions
from builder.tensorrt_plan import prove
from builder.triton_releases import version_text
from builder.variants import Precision
from console import run
from tests.conftest import REAL_IMAGES

pytestmark = [pytest.mark.gpu, pytest.mark.slow, pytest.mark.timeout(1800)]

LIMITS = {
    Precision.FP32: verification.FP32_PLAN_LIMITS,
    Precision.TF32: verification.FP16_LIMITS,
    Precision.FP16: verification.FP16_LIMITS,
}


@pytest.fixture(scope="module", autouse=True)
def machine():
    """Skips, with the reason, where there is no TensorRT or no GPU."""
    try:
        load_tensorrt(), find_gpu()
    except TensorRTError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def classifier():
    return checkpoint.load(DEFAULT_CHECKPOINT).classifier()


@pytest.fixture(scope="module")
def models(classifier):
    return {precision: onnx_export.export(classifier, BATCH_PLAN, precision) for precision in Precision}


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    """Options with a timing cache that all tests share: without one each build takes minutes."""
    return PlanOptions(timing_cache=tmp_path_factory.mktemp("tensorrt") / "timing.cache")


@pytest.fixture(scope="module")
def plans(models, options):
    builder = prepare(options)
    return {precision: builder.compile(onnx, BATCH_PLAN, precision) for precision, onnx in models.items()}


@pytest.mark.parametrize("precision", Precision)
def test_the_plan_is_proven_and_says_what_it_is(plans, precision):
    info = plans[precision].info
    assert info.tensorrt == load_tensorrt().__version__
    assert sum(info.layers_by_precision.values()) > 0
    assert info.plan_bytes == len(plans[precision].content)


def test_the_fp16_plan_is_smaller(plans):
    assert len(plans[Precision.FP16].content) < 0.75 * len(plans[Precision.FP32].content)


@pytest.mark.parametrize("precision", Precision)
def test_the_plan_answers_as_pytorch_on_real_images(plans, classifier, options, precision):
    sample = verification_sample(Path(REAL_IMAGES) if REAL_IMAGES else None, PLAN_VERIFICATION_IMAGES)
    reference = verification.reference_logits(classifier, sample.images)
    runner = prepare(options).runner(plans[precision], SIGNATURE)
    verification.verify(runner, sample.images, reference, LIMITS[precision], sample.labels)


def test_every_size_of_the_batch_plan_runs_and_one_more_does_not(plans, options):
    runner = prepare(options).runner(plans[Precision.FP16], SIGNATURE)
    images = np.zeros((BATCH_PLAN.max + 1, *SIGNATURE.input.dims), np.uint8)
    for size in BATCH_PLAN.sizes:
        assert runner(images[:size]).shape == (size, 10)
    with pytest.raises(TensorRTError, match="refused a batch of 257 images"):
        runner(images)


def test_an_fp32_plan_is_not_taken_for_an_fp16_one(plans, models, options):
    tensorrt, content = load_tensorrt(), plans[Precision.FP32].content
    with pytest.raises(PlanError, match="expected FP16, found FP32"):
        prove(tensorrt, content, models[Precision.FP16], BATCH_PLAN, Precision.FP16, options, SIGNATURE)


def test_a_build_with_the_timing_cache_of_another(plans, models, options):
    again = prepare(options).compile(models[Precision.FP16], BATCH_PLAN, Precision.FP16)
    assert options.timing_cache.stat().st_size > 0
    assert again.info.onnx_sha256 == plans[Precision.FP16].info.onnx_sha256


def test_a_damaged_timing_cache_does_not_stop_a_build(models, options, tmp_path):
    path = tmp_path / "timing.cache"
    path.write_bytes(b"no timing cache")
    prepare(replace(options, timing_cache=path)).compile(models[Precision.FP16], BATCH_PLAN, Precision.FP16)
    assert path.read_bytes() != b"no timing cache"


@pytest.mark.parametrize(
    "changes",
    [{"version_compatible": True}, {"hardware_compatibility": HardwareCompatibility.SAME_COMPUTE_CAPABILITY}],
    ids=["version compatible", "same compute capability"],
)
def test_compatible_plans_load_here_too(models, options, changes):
    builder = prepare(replace(options, **changes))
    plan = builder.compile(models[Precision.FP16], BATCH_PLAN, Precision.FP16)
    assert builder.runner(plan, SIGNATURE)(np.zeros((3, 32, 32, 3), np.uint8)).shape == (3, 10)


def test_a_graph_that_tensorrt_does_not_know_names_its_node(models, options):
    import onnx

    model = onnx.load_from_string(models[Precision.FP16])
    node = next(node for node in model.graph.node if node.op_type == "Relu")
    node.op_type = "NoSuchOperator"
    with pytest.raises(TensorRTError, match=f"parser refused the model .*{node.name}"):
        prepare(options).compile(model.SerializeToString(), BATCH_PLAN, Precision.FP16)


def test_a_damaged_plan_is_refused(plans):
    with pytest.raises(TensorRTError, match="cannot load this plan"):
        LoadedPlan(load_tensorrt(), plans[Precision.FP16].content[:10_000])


def test_ctrl_c_ends_a_build(models, options, tmp_path):
    start = time.monotonic()
    threading.Timer(3, os.kill, (os.getpid(), signal.SIGINT)).start()
    slow = replace(options, optimization_level=5, timing_cache=tmp_path / "none.cache")
    with pytest.raises(KeyboardInterrupt):
        prepare(slow).compile(models[Precision.FP16], BATCH_PLAN, Precision.FP16)
    assert time.monotonic() - start > 3
    assert not (tmp_path / "none.cache").exists()


def test_build_and_inspect_from_the_command_line(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    serving = f"--serving-tensorrt={version_text(tensorrt_version(load_tensorrt()))}"
    assert run(parser(), ["build", "--models=resnet18_tensorrt", serving]) == 0
    provenance = json.loads((tmp_path / "model_repository/resnet18_tensorrt/1/provenance.json").read_text())
    assert provenance["plan"]["gpu"] == find_gpu().name
    assert run(parser(), ["inspect", "model_repository/resnet18_tensorrt", serving]) == 0
    assert "this machine: loaded with TensorRT" in capfd.readouterr().err
