"""The same on real TensorRT and a real GPU, for whoever has them: `pytest -m gpu`.

Each test runs with every library that is installed: TensorRT, TensorRT for RTX, or both.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from builder.__main__ import DEFAULT_CHECKPOINT, parser
from builder.errors import PlanError, TensorRTError
from builder.export import onnx_export
from builder.network import checkpoint
from builder.pipeline import PLAN_VERIFICATION_IMAGES, verification_sample
from builder.signature import BATCH_SIZES, SIGNATURE
from builder.tensorrt.availability import prepare
from builder.tensorrt.cuda import Device
from builder.tensorrt.engine import LoadedPlan, invalidity
from builder.tensorrt.library import TENSORRT, TENSORRT_RTX
from builder.tensorrt.machine import find_gpu, load_library, tensorrt_version
from builder.tensorrt.network import HardwareCompatibility, PlanOptions, named_gpus
from builder.tensorrt.plan import prove
from builder.tensorrt.triton_releases import version_text
from builder.variants import Precision
from builder.verification import parity
from console import nvidia, run
from tests.conftest import REAL_IMAGES
from tests.support.interrupts import watched

pytestmark = [pytest.mark.gpu, pytest.mark.slow, pytest.mark.timeout(1800)]

LIMITS = {
    Precision.FP32: parity.FP32_PLAN_LIMITS,
    Precision.TF32: parity.FP16_LIMITS,
    Precision.FP16: parity.FP16_LIMITS,
}


@pytest.fixture(scope="module", params=[TENSORRT, TENSORRT_RTX], ids=["TensorRT", "RTX"], autouse=True)
def library(request):
    """Skips, with the reason, where it is not installed or there is no GPU."""
    try:
        find_gpu(), load_library(request.param)
    except TensorRTError as error:
        pytest.skip(str(error))
    return request.param


@pytest.fixture(scope="module")
def tensorrt(library):
    return load_library(library)


@pytest.fixture(scope="module")
def classifier():
    return checkpoint.load(DEFAULT_CHECKPOINT).classifier()


@pytest.fixture(scope="module")
def models(classifier):
    return {precision: onnx_export.export(classifier, BATCH_SIZES, precision) for precision in LIMITS}


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    """Options with a timing cache that all tests share: without one each build takes minutes."""
    return PlanOptions(timing_cache=tmp_path_factory.mktemp("tensorrt") / "timing.cache")


@pytest.fixture(scope="module")
def builder(options, library):
    return prepare(options, library)


@pytest.fixture(scope="module")
def plans(models, builder, library):
    wanted = [precision for precision in models if library.strict_fp32 or precision is not Precision.FP32]
    return {precision: builder.compile(models[precision], BATCH_SIZES, precision) for precision in wanted}


@pytest.fixture
def plan(plans, request):
    if request.param not in plans:
        pytest.skip("this library computes FP32 as TF32, and the builder refuses to call that FP32")
    return request.param, plans[request.param]


def test_the_driver_s_library_says_what_the_gpu_is():
    (first, *_) = nvidia.find_gpus().gpus
    gpu = find_gpu()
    assert (gpu.name, gpu.compute_capability) == (first.name, first.compute_capability)
    assert 0 < nvidia.free_memory() <= first.memory


@pytest.mark.parametrize("plan", LIMITS, indirect=True)
def test_the_plan_is_proven_and_says_what_it_is(plan, library, tensorrt):
    precision, built = plan
    info = built.info
    assert (info.library, info.tensorrt, info.proven) == (library.name, tensorrt.__version__, True)
    assert (info.gpu, info.precision) == (find_gpu().name, precision.value)
    assert sum(info.layers_by_precision.values()) > 0
    assert info.plan_bytes == len(built.content)


def test_the_fp16_plan_is_smaller(plans):
    assert len(plans[Precision.FP16].content) < 0.75 * len(plans[Precision.TF32].content)


@pytest.mark.parametrize("plan", LIMITS, indirect=True)
def test_the_plan_answers_as_pytorch_on_real_images(plan, classifier, builder):
    precision, built = plan
    sample = verification_sample(Path(REAL_IMAGES) if REAL_IMAGES else None, PLAN_VERIFICATION_IMAGES)
    reference = parity.reference_logits(classifier, sample.images)
    parity.verify(builder.runner(built, SIGNATURE), sample.images, reference, LIMITS[precision], sample.labels)


def test_every_batch_size_runs_and_one_more_does_not(plans, builder):
    runner = builder.runner(plans[Precision.FP16], SIGNATURE)
    images = np.zeros((BATCH_SIZES.max + 1, *SIGNATURE.input.dims), np.uint8)
    for size in BATCH_SIZES.sizes:
        assert runner(images[:size]).shape == (size, 10)
    with pytest.raises(TensorRTError, match="refused a batch of 257 images"):
        runner(images)


def test_a_plan_in_another_precision_is_not_taken_for_an_fp16_one(plans, models, options, library, tensorrt):
    content = plans[Precision.TF32].content
    with pytest.raises(PlanError, match="expected FP16, found FP32"):
        prove(tensorrt, content, models[Precision.FP16], BATCH_SIZES, Precision.FP16, options, SIGNATURE, library)


def test_a_build_with_the_timing_cache_of_another(plans, models, options, builder, library):
    if not library.timing_cache:
        pytest.skip("this library has no timing cache")
    again = builder.compile(models[Precision.FP16], BATCH_SIZES, Precision.FP16)
    assert options.timing_cache.stat().st_size > 0
    assert again.info.onnx_sha256 == plans[Precision.FP16].info.onnx_sha256


def test_a_damaged_timing_cache_does_not_stop_a_build(models, options, library, tmp_path):
    path = tmp_path / "timing.cache"
    path.write_bytes(b"no timing cache")
    damaged = prepare(replace(options, timing_cache=path), library)
    damaged.compile(models[Precision.FP16], BATCH_SIZES, Precision.FP16)
    assert (path.read_bytes() != b"no timing cache") is library.timing_cache


@pytest.mark.parametrize(
    "changes",
    [{"version_compatible": True}, {"hardware_compatibility": HardwareCompatibility.SAME_COMPUTE_CAPABILITY}],
    ids=["version compatible", "same compute capability"],
)
def test_compatible_plans_load_here_too(models, options, library, changes):
    changed = prepare(replace(options, **changes), library)
    if not library.version_compatible:
        with pytest.raises(TensorRTError, match=f"{library.name} has no --"):
            changed.compile(models[Precision.FP16], BATCH_SIZES, Precision.FP16)
        return
    plan = changed.compile(models[Precision.FP16], BATCH_SIZES, Precision.FP16)
    assert changed.runner(plan, SIGNATURE)(np.zeros((3, 32, 32, 3), np.uint8)).shape == (3, 10)


def test_a_plan_for_another_gpu_is_built_and_told_that_it_does_not_load_here(models, options, library, tensorrt):
    if not library.portable:
        pytest.skip("this library builds for the GPU it runs on")
    here = find_gpu().compute_capability
    other = next(capability for capability in ("12.0", "8.6") if capability != here)
    named_gpus(tensorrt, (other,), library)
    elsewhere = prepare(replace(options, compute_capabilities=(other,)), library, ahead_of_time=True)
    assert elsewhere.gpu is None
    assert f"it is for compute capability {other}, and here is {find_gpu().name}" in elsewhere.unverified
    plan = elsewhere.compile(models[Precision.FP16], BATCH_SIZES, Precision.FP16)
    assert plan.info.proven is False
    if other == "12.0":  # a GPU runs what is built for an older one of its major version
        assert "UNSUPPORTED_CC" in invalidity(tensorrt, plan.content)
        if here == "9.0":  # 1.6.1 says that of every plan there, loads every plan, and answers right
            assert LoadedPlan(tensorrt, plan.content, library=library)
            return
        with pytest.raises(TensorRTError, match="cannot load this plan"):
            LoadedPlan(tensorrt, plan.content, library=library)


def test_a_plan_s_header_says_whether_it_fits(plans, library, tensorrt):
    if not library.portable:
        pytest.skip("this library has no such check")
    if find_gpu().compute_capability != "9.0":  # which NVIDIA supports in no version, though 1.6.1 runs there
        assert invalidity(tensorrt, plans[Precision.FP16].content) == ""
    assert invalidity(tensorrt, b"no plan" * 1000) == "MALFORMED_ENGINE"


def test_a_graph_that_tensorrt_does_not_know_names_its_node(models, builder):
    import onnx

    model = onnx.load_from_string(models[Precision.FP16])
    node = next(node for node in model.graph.node if node.op_type == "Relu")
    node.op_type = "NoSuchOperator"
    with pytest.raises(TensorRTError, match=f"parser refused the model .*{node.name}"):
        builder.compile(model.SerializeToString(), BATCH_SIZES, Precision.FP16)


def test_a_damaged_plan_is_refused(plans, library, tensorrt):
    with pytest.raises(TensorRTError, match="cannot load this plan"):
        LoadedPlan(tensorrt, plans[Precision.FP16].content[:10_000], library=library)


def test_too_little_gpu_memory_is_one_line_with_its_remedy(library):
    everything = nvidia.find_gpus().gpus[0].memory
    said = r"cannot give \d+ bytes of GPU memory: .*OUT_OF_MEMORY"
    with pytest.raises(TensorRTError, match=said) as error, Device().memory(2 * everything):
        pass
    assert "free GPU memory" in error.value.hint


def test_ctrl_c_ends_a_build(models, options, library, tmp_path):
    slow = prepare(replace(options, optimization_level=5, timing_cache=tmp_path / "none.cache"), library)
    with watched(interrupt_at=2) as progress, pytest.raises(KeyboardInterrupt):
        slow.compile(models[Precision.FP16], BATCH_SIZES, Precision.FP16)
    assert progress.steps >= 2
    assert not (tmp_path / "none.cache").exists()


def test_build_and_inspect_from_the_command_line(library, tensorrt, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    name, repository, serving = "resnet18_tensorrt_rtx", "model_repository_rtx", []
    if library is TENSORRT:
        name, repository = "resnet18_tensorrt", "model_repository"
        serving = [f"--serving-tensorrt={version_text(tensorrt_version(tensorrt))}"]
    assert run(parser(), ["build", f"--models={name}", *serving]) == 0
    assert f"{name}: published version 1 (largest logit difference" in capfd.readouterr().err
    provenance = json.loads((tmp_path / repository / name / "1/provenance.json").read_text())
    assert provenance["plan"]["gpu"] == find_gpu().name
    assert provenance["plan"]["proven"] is True
    assert [batch["images"] > 0 for batch in provenance["verification"]["batches"]] == [True] * 3
    assert run(parser(), ["inspect", f"{repository}/{name}", *serving]) == 0
    assert f"this machine: loaded with {library.name} {tensorrt.__version__}" in capfd.readouterr().err
