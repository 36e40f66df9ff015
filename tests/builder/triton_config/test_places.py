"""What each place's configuration must not hold: the faults that were measured on the official backends."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tritonclient.grpc import model_config_pb2 as pb

from builder.triton_config.places import Place, places_of
from builder.variants import VARIANTS, Engine, Variant
from console.triton_configuration import parse
from console.triton_faults import known_faults
from tests.builder.triton_config.test_config_pbtxt import GOLDENS

GOLDEN = [(variant, place) for variant in VARIANTS.values() for place in places_of(variant)]


def accelerator(config: pb.ModelConfig) -> dict[str, str]:
    """The parameters of the accelerator cuda."""
    found = config.optimization.execution_accelerators.gpu_execution_accelerator
    return {key: value for entry in found for key, value in entry.parameters.items()}


def searched_in_parameters(config: pb.ModelConfig) -> bool:
    return config.parameters["cudnn_conv_algo_search"].string_value in ("1", "HEURISTIC")


WRONG: dict[str, Callable[[pb.ModelConfig], bool]] = {
    "a runtime, which ties the repository to one server": lambda config: bool(config.runtime),
    "a fault of a released Triton": lambda config: bool(known_faults(config)),
    "ONNX Runtime's own graphs, which kill the server": lambda config: "enable_cuda_graph" in accelerator(config),
    "the search among the accelerator's parameters, where it is overwritten": lambda config: (
        "cudnn_conv_algo_search" in accelerator(config)
    ),
}
"""Anywhere: what -> whether a configuration has it."""

WRONG_FOR_ONNX_WHERE_THE_OFFICIAL_BACKEND_MAY_MEET_A_GPU: dict[str, Callable[[pb.ModelConfig], bool]] = {
    "dynamic batching, which makes it plan anew": lambda config: config.HasField("dynamic_batching"),
    "CUDA graphs, which it ignores": lambda config: config.optimization.cuda.graphs,
    "the exhaustive search, 0.4 s a plan": lambda config: not searched_in_parameters(config),
}

WRONG_ON_A_CPU: dict[str, Callable[[pb.ModelConfig], bool]] = {
    "instances on a GPU": lambda config: any(
        group.kind != pb.ModelInstanceGroup.KIND_CPU for group in config.instance_group
    ),
    "settings of a GPU": lambda config: config.HasField("optimization") or bool(config.parameters),
    "no dynamic batching": lambda config: not config.HasField("dynamic_batching"),
}

WRONG_WITH_GRAPHS: dict[str, Callable[[pb.ModelConfig], bool]] = {
    "no dynamic batching": lambda config: not config.HasField("dynamic_batching"),
    "no CUDA graphs": lambda config: not config.optimization.cuda.graphs,
    "a size without a graph": lambda config: (
        {spec.batch_size for spec in config.optimization.cuda.graph_spec}
        != {entry.batch_size for entry in config.model_warmup}
    ),
    "instances elsewhere than on a GPU": lambda config: any(
        group.kind != pb.ModelInstanceGroup.KIND_GPU for group in config.instance_group
    ),
}


def wrong_for(variant: Variant, place: Place) -> dict[str, Callable[[pb.ModelConfig], bool]]:
    if variant.engine is Engine.ONNX_RUNTIME and variant.precision.quantized:
        return WRONG | WRONG_ON_A_CPU
    if variant.engine is Engine.ONNX_RUNTIME and place in (Place.PLAIN, Place.GPU_CONTAINER):
        return WRONG | WRONG_FOR_ONNX_WHERE_THE_OFFICIAL_BACKEND_MAY_MEET_A_GPU
    return WRONG | (WRONG_ON_A_CPU if place is Place.CPU else WRONG_WITH_GRAPHS)


def found_wrong(config: pb.ModelConfig, variant: Variant, place: Place) -> list[str]:
    return [what for what, holds in wrong_for(variant, place).items() if holds(config)]


@pytest.mark.parametrize(("variant", "place"), GOLDEN, ids=lambda value: getattr(value, "name", None))
def test_no_place_has_a_setting_that_is_wrong_there(variant, place):
    config = parse((GOLDENS / variant.name / place.file).read_text())
    assert found_wrong(config, variant, place) == []


@pytest.mark.parametrize(
    ("name", "place", "change"),
    [
        ("resnet18_onnx", Place.GPU_CONTAINER, "dynamic_batching { }"),
        ("resnet18_onnx", Place.PLAIN, "optimization { cuda { graphs: true } }"),
        (
            "resnet18_onnx_fp16",
            Place.GPU_EMBEDDED,
            'optimization { execution_accelerators { gpu_execution_accelerator { name: "cuda" '
            'parameters { key: "enable_cuda_graph" value: "1" } } } }',
        ),
        ("resnet18_onnx", Place.CPU, "instance_group { kind: KIND_GPU }"),
        ("resnet18_onnx_int8", Place.PLAIN, "instance_group { kind: KIND_AUTO }"),
        ("resnet18_tensorrt", Place.GPU_CONTAINER, "optimization { cuda { output_copy_stream: true } }"),
        ("resnet18_tensorrt", Place.PLAIN, "instance_group { kind: KIND_AUTO }"),
    ],
)
def test_a_setting_that_is_wrong_there_is_found(name, place, change):
    config = parse((GOLDENS / name / place.file).read_text())
    config.MergeFrom(parse(change))
    assert found_wrong(config, VARIANTS[name], place)


@pytest.mark.parametrize("name", ["resnet18_onnx", "resnet18_onnx_tf32", "resnet18_onnx_fp16"])
@pytest.mark.parametrize(("place", "count"), [(Place.PLAIN, 1), (Place.GPU_CONTAINER, 4), (Place.CPU, 1)])
def test_instances_do_the_work_of_dynamic_batching_in_the_container_on_a_gpu(name, place, count):
    groups = parse((GOLDENS / name / place.file).read_text()).instance_group
    assert [group.count for group in groups] == [count]


@pytest.mark.parametrize(("variant", "place"), GOLDEN, ids=lambda value: getattr(value, "name", None))
def test_every_place_has_the_same_tensors_labels_and_versions(variant, place):
    """What a client or another version could notice stays the same bytes in every place."""
    here, plain = (parse((GOLDENS / variant.name / at.file).read_text()) for at in (place, Place.PLAIN))
    for name in ("name", "platform", "max_batch_size", "input", "output", "version_policy", "default_model_filename"):
        assert getattr(here, name) == getattr(plain, name), name


def test_plans_have_no_configuration_for_a_cpu():
    assert Place.CPU not in places_of(VARIANTS["resnet18_tensorrt"])
