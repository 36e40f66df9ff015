"""What the builder does with a real TensorRT for RTX, one scene a function; `tests/builder/tensorrt/test_real_parts.py`
runs all of them in one process for each version and asserts on what comes back.

`python -m tests.support.tensorrt_rtx_scenes DIRECTORY`: DIRECTORY holds fp16.onnx and fp32.onnx; JSON goes to standard
output: scene -> {"value": …} or {"error": [class, message, hint]}.
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import onnx

from builder.errors import BuilderError
from builder.signature import BATCH_SIZES, SIGNATURE
from builder.tensorrt.availability import prepare
from builder.tensorrt.engine import LoadedPlan, invalidity
from builder.tensorrt.library import TENSORRT, TENSORRT_RTX
from builder.tensorrt.log import begin_log, create
from builder.tensorrt.machine import load_library
from builder.tensorrt.network import HardwareCompatibility, PlanOptions, configure, parse
from builder.tensorrt.plan import compile_plan
from builder.variants import Precision
from console import nvidia
from tests.support.interrupts import watched

tensorrt = load_library(TENSORRT_RTX)
folder = Path(sys.argv[1])
SCENES: dict[str, Callable[[], object]] = {}


def scene(function):
    SCENES[function.__name__] = function
    return function


def model(precision: Precision) -> bytes:
    return (folder / f"{'fp16' if precision is Precision.FP16 else 'fp32'}.onnx").read_bytes()


def compiled(onnx_model=None, precision=Precision.FP16, library=TENSORRT_RTX, **options):
    options = PlanOptions(**{"timing_cache": folder / "timing.cache", **options})
    given = onnx_model if onnx_model is not None else model(precision)
    return compile_plan(tensorrt, None, given, BATCH_SIZES, precision, options, library=library)


def configured(library=TENSORRT_RTX, tensor=SIGNATURE.input, batch_sizes=BATCH_SIZES, **options):
    builder = create(tensorrt.Builder, begin_log(tensorrt))
    options = PlanOptions(**{"timing_cache": None, **options})
    return builder, configure(tensorrt, builder, options, Precision.FP16, tensor, batch_sizes, library)


def changed(change) -> bytes:
    graph = onnx.load_from_string(model(Precision.FP16))
    change(graph.graph)
    return graph.SerializeToString()


def first(graph, operator):
    return next(node for node in graph.node if node.op_type == operator)


@scene
def plan_fp16():
    plan = compiled()
    return {**plan.info.as_json(), "length": len(plan.content), "timing_cache": (folder / "timing.cache").exists()}


@scene
def plan_tf32():
    return compiled(precision=Precision.TF32).info.as_json()


@scene
def plan_for_named_gpus():
    return compiled(compute_capabilities=("8.6", "8.9", "12.0")).info.as_json()


@scene
def named_gpus_reach_the_library():
    _, config = configured(compute_capabilities=("7.5", "8.6", "12.0"))
    return [config.get_compute_capability(index).name for index in range(config.num_compute_capabilities)]


@scene
def options_reach_the_library():
    _, config = configured(workspace=1 << 28, optimization_level=5)
    return {
        "workspace": config.get_memory_pool_limit(tensorrt.MemoryPoolType.WORKSPACE),
        "level": config.builder_optimization_level,
        "verbosity": config.profiling_verbosity.name,
    }


@scene
def flags_of_tensorrt_reach_the_library():
    """As TensorRT, of which this library has the flags and not what they stand for."""
    builder = create(tensorrt.Builder, begin_log(tensorrt))
    flags = {}
    for precision in (Precision.FP32, Precision.TF32):
        library = replace(TENSORRT_RTX, strict_fp32=True, version_compatible=True)
        options = PlanOptions(timing_cache=None, version_compatible=True)
        config = configure(tensorrt, builder, options, precision, SIGNATURE.input, BATCH_SIZES, library)
        flags[precision.value] = [
            config.get_flag(flag) for flag in (tensorrt.BuilderFlag.TF32, tensorrt.BuilderFlag.VERSION_COMPATIBLE)
        ]
    return flags


@scene
def the_network_is_strongly_typed():
    log = begin_log(tensorrt)
    builder = create(tensorrt.Builder, log)
    network = parse(tensorrt, builder, log, model(Precision.FP16)).network
    flag = tensorrt.NetworkDefinitionCreationFlag.STRONGLY_TYPED
    tensors = [network.get_input(0), network.get_output(0)]
    inside = {network.get_layer(index).get_output(0).dtype.name for index in range(network.num_layers)
              if network.get_layer(index).type == tensorrt.LayerType.CONVOLUTION}  # fmt: skip
    return {
        "flag": network.get_flag(flag),
        "tensors": [[tensor.name, tensor.dtype.name, list(tensor.shape)] for tensor in tensors],
        "convolutions": sorted(inside),
    }


@scene
def a_gpu_that_the_library_does_not_know():
    """Said before anything is exported."""
    prepare(PlanOptions(compute_capabilities=("8.6", "6.1")), TENSORRT_RTX, ahead_of_time=True)


def on(*gpus, cuda=(13, 0), **options):
    """What would build on a machine with these GPUs."""
    found = nvidia.Gpus(
        tuple(nvidia.Gpu(f"GPU {gpu}", gpu, 1 << 33) for gpu in gpus), cuda, "" if gpus else "no driver"
    )
    real, nvidia.find_gpus = nvidia.find_gpus, lambda: found
    try:
        builder = prepare(PlanOptions(**options), TENSORRT_RTX, ahead_of_time="compute_capabilities" in options)
    finally:
        nvidia.find_gpus = real
    return [builder.gpu and builder.gpu.name, list(builder.options.compute_capabilities), builder.unverified]


@scene
def on_a_gpu_that_it_builds_for_unasked():
    return on("8.9", "12.0")


@scene
def on_a_gpu_that_must_be_named():
    return on("7.5")


@scene
def for_gpus_among_which_is_the_one_here():
    return on("8.9", compute_capabilities=("8.6", "8.9"))


@scene
def for_other_gpus_than_the_one_here():
    return on("8.9", compute_capabilities=("12.0",))


@scene
def for_other_gpus_without_one():
    return on(compute_capabilities=("12.0",))


@scene
def for_all_gpus_without_one():
    return on(compute_capabilities=())


@scene
def without_a_gpu_and_for_none_named():
    return on()


@scene
def with_a_driver_that_is_too_old():
    return on("8.9", cuda=(12, 8))


@scene
def fp32_in_name_only():
    compiled(precision=Precision.FP32)


@scene
def hardware_compatibility():
    compiled(hardware_compatibility=HardwareCompatibility.AMPERE_PLUS)


@scene
def version_compatible():
    compiled(version_compatible=True)


@scene
def an_operator_that_is_not_known():
    def change(graph):
        first(graph, "Relu").op_type = "NoSuchOperator"

    compiled(changed(change))


@scene
def a_node_that_does_not_fit():
    def change(graph):
        first(graph, "Conv").input[1] = next(tensor.name for tensor in graph.initializer if len(tensor.dims) == 1)

    compiled(changed(change))


@scene
def the_node_that_does_not_fit():
    return first(onnx.load_from_string(model(Precision.FP16)).graph, "Conv").name


@scene
def the_node_that_is_not_known():
    return first(onnx.load_from_string(model(Precision.FP16)).graph, "Relu").name


@scene
def a_truncated_model():
    compiled(model(Precision.FP16)[:100_000])


@scene
def an_empty_model():
    compiled(b"")


@scene
def a_profile_whose_sizes_do_not_ascend():
    configured(batch_sizes=SimpleNamespace(min=64, opt=1, max=256))


@scene
def a_profile_of_another_shape():
    tensor = replace(SIGNATURE.input, dims=(16, 16, 3))
    builder, config = configured(tensor=tensor)
    log = begin_log(tensorrt)
    parsed = parse(tensorrt, builder, log, model(Precision.FP16))
    from builder.tensorrt.plan import _build

    _build(tensorrt, builder, parsed.network, config, log)


@scene
def a_build_that_gives_no_plan():
    """A lean runtime that is not there, asked for as if this library had one."""
    compiled(library=replace(TENSORRT_RTX, version_compatible=True), version_compatible=True)


@scene
def progress():
    with watched() as found:
        compiled()
    return {"phases": found.phases, "steps": found.steps}


@scene
def ctrl_c():
    steps = None
    try:
        with watched(interrupt_at=2) as found:
            compiled(timing_cache=folder / "interrupted.cache")
    except KeyboardInterrupt:
        steps = found.steps
    return {"steps": steps, "timing_cache": (folder / "interrupted.cache").exists(), "again": len(compiled().content)}


@scene
def ctrl_c_at_the_last_step():
    with watched() as whole:
        compiled()
    try:
        with watched(interrupt_at=whole.steps):
            compiled()
    except KeyboardInterrupt:
        return "interrupted"
    return "not interrupted"


@scene
def the_second_error_of_a_process_has_its_reason_too():
    """TensorRT keeps the first logger of a process; whoever asked a second one would hear nothing."""
    said = []
    for _ in range(2):
        try:
            a_build_that_gives_no_plan()
        except BuilderError as error:
            said.append(str(error))
    return said


@scene
def the_log_is_python_s():
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    logging.getLogger("tensorrt").addHandler(handler)
    try:
        a_build_that_gives_no_plan()
    except BuilderError:
        pass
    finally:
        logging.getLogger("tensorrt").removeHandler(handler)
    return [[record.levelname, record.getMessage()] for record in records]


@scene
def a_damaged_timing_cache():
    """Given as TensorRT, which has one: what this library makes of it must not stop a build."""
    path = folder / "damaged.cache"
    path.write_bytes(b"no timing cache")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # which says that this library has none
        plan = compiled(library=replace(TENSORRT_RTX, timing_cache=True), timing_cache=path)
    return {"length": len(plan.content), "kept": path.read_bytes() != b"no timing cache"}


@scene
def a_timing_cache_is_passed_over():
    path = folder / "not_mine.cache"
    path.write_bytes(b"of TensorRT")
    compiled(timing_cache=path)
    return path.read_bytes() == b"of TensorRT"


@scene
def a_damaged_plan_is_refused():
    LoadedPlan(tensorrt, b"no plan" * 1000, library=TENSORRT_RTX)


@scene
def what_the_header_of_a_damaged_plan_says():
    return invalidity(tensorrt, b"no plan" * 1000)


@scene
def the_library_is_not_tensorrt():
    return [tensorrt.__name__, tensorrt.__version__, tensorrt.__name__ in TENSORRT.modules]


def outcome(function: Callable[[], object]) -> dict[str, object]:
    try:
        return {"value": function()}
    except BuilderError as error:
        return {"error": [type(error).__name__, str(error), error.hint]}


if __name__ == "__main__":
    logging.getLogger("tensorrt").propagate = False  # the scenes' errors are meant
    json.dump({name: outcome(function) for name, function in SCENES.items()}, sys.stdout)
