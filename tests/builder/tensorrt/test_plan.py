"""What the builder does with a plan on a GPU, with a fake whose every member the real bindings have.

What needs no GPU is shown on real libraries in `test_real_parts.py`.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import sys

import pytest

from builder.errors import PlanError, TensorRTError
from builder.signature import BATCH_SIZES
from builder.tensorrt import timing_cache
from builder.tensorrt.machine import Gpu, load_library
from builder.tensorrt.network import HardwareCompatibility, PlanOptions
from builder.tensorrt.plan import compile_plan
from builder.variants import Precision
from console import ExitCode
from tests.builder.tensorrt.conftest import PRECISIONS
from tests.support import fake_tensorrt
from tests.support.fake_tensorrt import Behaviour, BuilderFlag, HardwareCompatibilityLevel

HERE = Gpu("NVIDIA H200", "9.0", "13.0")


@pytest.fixture
def compiled(models, tmp_path):
    def compile_with(behaviour=None, model=Precision.FP16, precision=Precision.FP16, **options):
        tensorrt = fake_tensorrt.install(behaviour or Behaviour())
        options = {"timing_cache": tmp_path / "timing.cache", **options}
        return compile_plan(tensorrt, HERE, models[model], BATCH_SIZES, precision, PlanOptions(**options))

    return compile_with


@pytest.mark.parametrize("version", ["10.16.1.11", "11.2.1.2"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_plan_says_what_it_is_in_both_dialects(compiled, models, version, precision):
    plan = compiled(Behaviour(version=version), model=precision, precision=precision)
    assert plan.info.tensorrt == version
    assert (plan.info.gpu, plan.info.compute_capability, plan.info.cuda) == ("NVIDIA H200", "9.0", "13.0")
    assert plan.info.layers_by_precision == {"FP16" if precision is Precision.FP16 else "FP32": 20}
    assert plan.info.plan_sha256 == hashlib.sha256(plan.content).hexdigest()
    assert plan.info.onnx_sha256 == hashlib.sha256(models[precision]).hexdigest()
    assert plan.info.profile == (1, 64, 256)
    assert json.loads(json.dumps(plan.info.as_json()))["build_seconds"] >= 0


def test_what_makes_a_plan_compatible_reaches_tensorrt(compiled):
    compiled(
        version_compatible=True,
        hardware_compatibility=HardwareCompatibility.SAME_COMPUTE_CAPABILITY,
    )
    (config,) = fake_tensorrt.BUILT
    assert config.hardware_compatibility_level is HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY
    assert BuilderFlag.VERSION_COMPATIBLE in config._flags


def test_an_fp32_engine_where_fp16_was_meant_is_not_published(compiled):
    with pytest.raises(PlanError, match=r"CaskConvolution node_\w+ .* expected FP16, found FP32") as error:
        compiled(Behaviour(convolutions="Float"))
    assert error.value.exit_code is ExitCode.GATE


def test_an_fp32_graph_does_not_become_an_fp16_plan(compiled):
    with pytest.raises(PlanError, match="and 15 more"):
        compiled(model=Precision.FP32, precision=Precision.FP16)


def test_an_engine_that_cannot_be_shown_to_be_fp16_is_not_published(compiled):
    with pytest.raises(PlanError, match="only 0 of 20 convolutions are shown in FP16"):
        compiled(Behaviour(names_only=True))


def test_a_wrong_input_type_names_both(compiled):
    said = r"expected input 'images' UINT8 \[-1, 32, 32, 3\] with the profile .*found input 'images' FLOAT"
    with pytest.raises(PlanError, match=said):
        compiled(Behaviour(input_dtype="FLOAT"))


def test_a_plan_that_cannot_be_loaded_is_not_published(compiled):
    with pytest.raises(TensorRTError, match="cannot load this plan: The engine plan file is not compatible"):
        compiled(Behaviour(deserialises=False))


def test_the_timing_cache_is_kept_and_used_again(compiled, tmp_path):
    for builds in (1, 2):
        compiled()
        assert (tmp_path / "timing.cache").read_text() == f"fake timing cache|11.2.1.2 on NVIDIA H200|{builds}"


@pytest.mark.parametrize(
    "stale",
    [b"fake timing cache|11.2.1.2 on NVIDIA L4|9", b"fake timing cache|10.16.1.11 on NVIDIA H200|9", b"\xff damaged"],
    ids=["other GPU", "other version", "damaged"],
)
def test_a_stale_timing_cache_is_refused_with_a_line_and_made_anew(compiled, tmp_path, caplog, stale):
    (tmp_path / "timing.cache").write_bytes(stale)
    with caplog.at_level(logging.INFO):
        compiled()
    assert "is damaged, or of another GPU or TensorRT; building without it" in caplog.text
    assert (tmp_path / "timing.cache").read_text() == "fake timing cache|11.2.1.2 on NVIDIA H200|1"


def test_a_full_disk_costs_the_timing_cache_and_not_the_plan(compiled, tmp_path, monkeypatch, caplog):
    (tmp_path / "timing.cache").write_text("fake timing cache|11.2.1.2 on NVIDIA H200|4")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(timing_cache, "write_atomically", full)
    assert compiled().content
    assert "the timing cache is not kept: [Errno 28] No space left on device" in caplog.text
    assert (tmp_path / "timing.cache").read_text().endswith("|4")


def test_an_old_tensorrt_is_refused_with_the_pip_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt.install(Behaviour(version="10.5.0")))
    with pytest.raises(TensorRTError, match=r"expected TensorRT 10\.13\.0 or newer; found 10\.5\.0") as error:
        load_library()
    assert "pip install" in error.value.hint


def test_a_tensorrt_that_is_not_there_says_how_to_get_it(monkeypatch):
    for name in ("tensorrt", "tensorrt_bindings"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(TensorRTError, match="TensorRT cannot be imported") as error:
        load_library()
    assert "make build-repo-docker" in error.value.hint
