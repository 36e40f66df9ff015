"""The builder with real libraries, on any machine: parser, profile, build, progress, Ctrl-C, errors, options.

TensorRT for RTX 1.4 has TensorRT 10's interface, the later ones TensorRT 11's; what they do is in
`tests/support/tensorrt_rtx_scenes.py`, which runs once for each version, in a process of its own.
"""

from __future__ import annotations

import json

import pytest

from builder.signature import BATCH_SIZES, SIGNATURE
from builder.variants import Precision
from tests.support.tensorrt_rtx import VERSIONS, run_python


@pytest.fixture(scope="module", params=VERSIONS)
def scenes(request, models, tmp_path_factory):
    folder = tmp_path_factory.mktemp(f"rtx-{request.param}")
    (folder / "fp16.onnx").write_bytes(models[Precision.FP16])
    (folder / "fp32.onnx").write_bytes(models[Precision.FP32])
    # -W error: what the library calls deprecated, or a no-op of its own, is not called
    done = run_python(request.param, "-W", "error", "-m", "tests.support.tensorrt_rtx_scenes", str(folder))
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    found["version"] = request.param
    return found


@pytest.fixture
def value(scenes):
    return lambda name: scenes[name]["value"]


@pytest.fixture
def error(scenes):
    """Message and hint of a scene that ends with an error for the user."""

    def of(name):
        kind, message, hint = scenes[name]["error"]
        assert kind == "TensorRTError"
        return message, hint

    return of


def test_a_plan_is_built_without_a_gpu_and_says_that_it_is_not_proven(scenes, value):
    plan = value("plan_fp16")
    assert plan["library"] == "TensorRT for RTX"
    assert plan["tensorrt"] == scenes["version"]
    assert (plan["proven"], plan["gpu"], plan["compute_capability"], plan["layers_by_precision"]) == (
        False,
        None,
        None,
        {},
    )
    assert plan["profile"] == [BATCH_SIZES.min, BATCH_SIZES.opt, BATCH_SIZES.max]
    assert plan["plan_bytes"] == plan["length"] > 1_000_000


def test_half_the_precision_is_half_the_plan(value):
    assert value("plan_fp16")["plan_bytes"] < 0.6 * value("plan_tf32")["plan_bytes"]


def test_gpus_are_named_to_the_library_and_in_the_record(value):
    assert value("named_gpus_reach_the_library") == ["SM75", "SM86", "SM120"]
    assert value("plan_for_named_gpus")["compute_capabilities"] == ["8.6", "8.9", "12.0"]
    assert value("plan_for_named_gpus")["plan_sha256"] != value("plan_fp16")["plan_sha256"]


def test_a_gpu_that_the_library_does_not_know_is_named_with_those_it_knows(error):
    message, hint = error("a_gpu_that_the_library_does_not_know")
    assert message.endswith("builds for no compute capability 6.1")
    assert hint.startswith("it knows 7.5, 8.0, 8.6, 8.9, 12.0")


def test_the_gpu_here_decides_what_is_built_and_whether_it_is_verified(value):
    assert value("on_a_gpu_that_it_builds_for_unasked") == ["GPU 8.9", [], ""]
    assert value("on_a_gpu_that_must_be_named") == ["GPU 7.5", ["7.5"], ""]
    assert value("for_gpus_among_which_is_the_one_here") == ["GPU 8.9", ["8.6", "8.9"], ""]
    gpu, named, unverified = value("for_other_gpus_than_the_one_here")
    assert (gpu, named) == (None, ["12.0"])
    assert unverified == "it is for compute capability 12.0, and here is GPU 8.9 of compute capability 8.9"
    assert value("for_other_gpus_without_one") == [None, ["12.0"], "there is no GPU here"]
    assert value("for_all_gpus_without_one") == [None, [], "there is no GPU here"]


def test_without_a_gpu_nothing_is_built_unasked(error):
    message, hint = error("without_a_gpu_and_for_none_named")
    assert message == "TensorRT needs an NVIDIA GPU: no driver"
    assert "--compute-capability 8.6,8.9,12.0 (or: all)" in hint


def test_a_driver_that_is_too_old_is_told_before_the_build(error):
    message, hint = error("with_a_driver_that_is_too_old")
    assert message == "TensorRT for RTX needs a driver that runs CUDA 13; this machine's runs 12.8"
    assert "R580" in hint


def test_options_reach_the_library(value):
    assert value("options_reach_the_library") == {"workspace": 1 << 28, "level": 5, "verbosity": "DETAILED"}


def test_fp32_means_fp32_and_not_tf32_where_a_library_lets_it(value):
    """Of each precision whether TF32 is allowed, and whether the plan is version-compatible."""
    assert value("flags_of_tensorrt_reach_the_library") == {"fp32": [False, True], "tf32": [True, True]}


def test_the_network_is_strongly_typed_and_computes_in_the_precision_of_the_graph(value):
    network = value("the_network_is_strongly_typed")
    assert network["flag"] is True
    assert network["convolutions"] == ["HALF"]
    assert network["tensors"] == [
        [SIGNATURE.input.name, "UINT8", [-1, *SIGNATURE.input.dims]],
        [SIGNATURE.output.name, "FLOAT", [-1, *SIGNATURE.output.dims]],
    ]


def test_fp32_that_would_be_tf32_is_refused(error):
    message, hint = error("fp32_in_name_only")
    assert "computes FP32 networks in TF32, and that cannot be switched off" in message
    assert "under its own name" in hint


@pytest.mark.parametrize("option", ["hardware_compatibility", "version_compatible"])
def test_an_option_that_the_library_lacks_is_refused(error, option):
    message, hint = error(option)
    assert message == f"TensorRT for RTX has no --{option.replace('_', '-')}"
    assert "exactly the version that built it" in hint


@pytest.mark.parametrize(
    ("scene", "node", "operator"),
    [
        ("an_operator_that_is_not_known", "the_node_that_is_not_known", "NoSuchOperator"),
        ("a_node_that_does_not_fit", "the_node_that_does_not_fit", "Conv"),
    ],
)
def test_a_parser_error_names_its_node(value, error, scene, node, operator):
    message, hint = error(scene)
    assert f"node '{value(node)}' ({operator}): " in message
    assert "another export" in hint


@pytest.mark.parametrize("scene", ["a_truncated_model", "an_empty_model"])
def test_a_file_that_is_no_model_is_an_error(error, scene):
    assert error(scene)[0].startswith(("TensorRT's ONNX parser refused the model", "TensorRT could not build"))


def test_a_refused_profile_names_input_and_shapes(error):
    message, hint = error("a_profile_whose_sizes_do_not_ascend")
    assert "profile of input 'images' (min (64, 32, 32, 3), opt (1, 32, 32, 3), max (256, 32, 32, 3))" in message
    assert "BATCH_SIZES" in hint
    assert "min=16, opt=16, max=16 but tensor has 32" in error("a_profile_of_another_shape")[0]


def test_no_plan_gives_the_library_s_own_reason(error):
    message, hint = error("a_build_that_gives_no_plan")
    assert message.startswith("TensorRT could not build the plan: ")
    assert "libnvinfer_lean" in message
    assert "workspace" not in hint, "memory is not what is missing"


def test_a_process_keeps_one_logger_and_every_error_its_reason(value):
    said = value("the_second_error_of_a_process_has_its_reason_too")
    assert len(said) == 2
    assert all("libnvinfer_lean" in message for message in said)


def test_the_library_s_log_is_python_s(value):
    level, message = value("the_log_is_python_s")[0]
    assert level == "ERROR"
    assert message.startswith("TensorRT: ")
    assert "libnvinfer_lean" in message


def test_a_build_reports_its_progress(value):
    progress = value("progress")
    assert progress["phases"][0] == "Building engine"
    assert len(set(progress["phases"])) > 3
    assert progress["steps"] > 10


def test_ctrl_c_ends_the_build_at_the_next_step_and_leaves_the_library_usable(value):
    interrupted = value("ctrl_c")
    assert interrupted["steps"] < value("progress")["steps"]
    assert interrupted["timing_cache"] is False
    assert interrupted["again"] == value("plan_fp16")["length"]
    assert value("ctrl_c_at_the_last_step") == "interrupted"


def test_a_damaged_timing_cache_does_not_stop_a_build(value):
    assert value("a_damaged_timing_cache") == {"length": value("plan_fp16")["length"], "kept": True}


def test_a_library_without_timing_caches_leaves_the_file_alone(value):
    assert value("a_timing_cache_is_passed_over") is True
    assert value("plan_fp16")["timing_cache"] is False


def test_a_damaged_plan_is_refused(error, value):
    message, hint = error("a_damaged_plan_is_refused")
    assert "cannot load this plan: " in message
    assert "exactly the version that built it" in hint
    assert value("what_the_header_of_a_damaged_plan_says") == "MALFORMED_ENGINE"
