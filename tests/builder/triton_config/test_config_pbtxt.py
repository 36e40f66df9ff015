from __future__ import annotations

from pathlib import Path

import pytest
from tritonclient.grpc import model_config_pb2 as pb

from builder.signature import BATCH_SIZES, SIGNATURE, BatchSizes
from builder.triton_config.config_pbtxt import Scheduling, model_config, parse_instances, texts, to_text
from builder.triton_config.places import Place, places_of
from builder.variants import VARIANTS, Engine, Precision, variants_named
from console import UserError
from console.files import write_atomically
from console.triton_configuration import ConfigurationError, parse
from console.triton_faults import known_faults

EVERYWHERE = [(variant, place) for variant in VARIANTS.values() for place in places_of(variant)]


@pytest.fixture(params=EVERYWHERE, ids=lambda pair: f"{pair[0].name} {pair[1].value or 'plain'}")
def config(request):
    variant, place = request.param
    return model_config(variant, BATCH_SIZES, place=place)


def test_text_reads_back_as_the_same_message(config):
    assert parse(to_text(config)) == config


def test_triton_refuses_a_field_that_does_not_exist(config):
    with pytest.raises(ConfigurationError, match="max_batchsize"):
        parse(to_text(config).replace("max_batch_size", "max_batchsize"))


def test_config_never_names_a_runtime(config):
    # Triton's containers hold no model.py; naming a runtime would tie the repository to the embedded server.
    assert not config.runtime
    assert (config.platform or config.backend) in {engine.value for engine in Engine}
    assert not (config.platform and config.backend)


def test_batches_and_warm_up_follow_the_batch_sizes():
    plan = BatchSizes(opt=4, sizes=(1, 4, 12))
    config = model_config(VARIANTS["resnet18_onnx"], plan, place=Place.GPU_EMBEDDED)
    assert config.max_batch_size == 12
    assert [warmup.batch_size for warmup in config.model_warmup] == [1, 4, 12]


def test_a_bounded_queue_refuses_what_does_not_fit():
    scheduling = Scheduling(max_queue_size=8)
    config = model_config(VARIANTS["resnet18_onnx"], BATCH_SIZES, scheduling=scheduling, place=Place.CPU)
    policy = config.dynamic_batching.default_queue_policy
    assert policy.max_queue_size == 8
    assert policy.timeout_action == policy.REJECT


@pytest.mark.parametrize("engine", ["resnet18_onnx", "resnet18_tensorrt"])
def test_instances_are_as_many_as_asked_for(engine):
    variant = VARIANTS[engine]

    def counts(text: str) -> dict[str, int]:
        scheduling = Scheduling(**parse_instances(text))
        configs = {p: model_config(variant, BATCH_SIZES, scheduling=scheduling, place=p) for p in Place}
        return {place.value: config.instance_group[0].count for place, config in configs.items()}

    assert set(counts("2").values()) == {2}, "a number alone is meant for every place"
    assert counts("gpu_embedded=2, cpu=3")["gpu_embedded"] == 2
    assert counts("gpu_embedded=2")[""] == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0", "argument --instances: expected a whole number of 1 to 2147483647, found '0'"),
        ("9999999999", "of 1 to 2147483647, found '9999999999'"),
        ("two", "found 'two'"),
        ("cpu=", "found ''"),
        ("cpu=0", "found '0'"),
        ("gpu=2", "no place 'gpu'"),
    ],
)
def test_instances_that_cannot_be_read(text, said):
    with pytest.raises(UserError, match=said):
        Scheduling(**parse_instances(text))


@pytest.mark.parametrize(("variant", "place"), EVERYWHERE)
def test_a_bound_is_written_where_triton_has_a_queue_for_it(variant, place):
    config = model_config(variant, BATCH_SIZES, scheduling=Scheduling(max_queue_size=8), place=place)
    bounded = config.dynamic_batching.default_queue_policy.max_queue_size == 8
    assert bounded == model_config(variant, BATCH_SIZES, place=place).HasField("dynamic_batching")


def test_without_a_bound_the_batcher_keeps_its_prefetching_path(config):
    assert not config.dynamic_batching.HasField("default_queue_policy")


def test_cuda_graphs_and_an_output_stream_never_stand_together(config):
    # NVIDIA's TensorRT backend then answers requests with other requests' answers, without a word in its log
    assert not (config.optimization.cuda.graphs and config.optimization.cuda.output_copy_stream)
    assert not known_faults(config)


def test_the_input_says_its_layout_to_clients_that_trust_the_configuration(config):
    assert config.input[0].format == pb.ModelInput.FORMAT_NHWC


def test_tensors_are_as_signed(config):
    assert (config.input[0].name, list(config.input[0].dims)) == (SIGNATURE.input.name, [32, 32, 3])
    assert config.output[0].label_filename == "labels.txt"


@pytest.mark.parametrize("sizes", [(), (2, 4), (1, 4, 2), (1, 1, 2)])
def test_batch_sizes_must_ascend_from_one(sizes):
    with pytest.raises(ValueError, match="ascend from 1"):
        BatchSizes(opt=1, sizes=sizes)


def test_unknown_model_lists_the_known_ones():
    with pytest.raises(UserError, match="resnet19") as error:
        variants_named("resnet18_onnx,resnet19")
    assert "resnet18_onnx" in error.value.hint


GOLDENS = Path(__file__).parent / "goldens"


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_configs_are_the_golden_ones(variant):
    golden = GOLDENS / variant.name
    built = texts(variant, BATCH_SIZES)
    assert built == {str(path.relative_to(golden)): path.read_text() for path in golden.rglob("*.pbtxt")}, (
        "if the change is meant: python -m tests.builder.triton_config.test_config_pbtxt writes it anew"
    )
    for place in places_of(variant):
        assert parse(built[place.file]) == model_config(variant, BATCH_SIZES, place=place)


def test_there_is_a_golden_config_for_every_model():
    assert {path.name for path in GOLDENS.iterdir()} == set(VARIANTS)


@pytest.mark.parametrize("name", [name for name in VARIANTS if VARIANTS[name].engine is not Engine.ONNX_RUNTIME])
def test_every_size_of_the_plan_gets_a_cuda_graph(name):
    plan = BatchSizes(opt=4, sizes=(1, 4, 12))
    cuda = model_config(VARIANTS[name], plan).optimization.cuda
    assert cuda.graphs
    assert not cuda.output_copy_stream
    assert [spec.batch_size for spec in cuda.graph_spec] == [1, 4, 12]
    assert {tuple(spec.input["images"].dim) for spec in cuda.graph_spec} == {(32, 32, 3)}


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_a_plan_runs_on_a_gpu_only_a_quantised_onnx_model_on_a_cpu_only_another_where_it_can(variant):
    group = pb.ModelInstanceGroup
    onnx = variant.engine is Engine.ONNX_RUNTIME
    expected = (group.KIND_CPU if variant.precision is Precision.INT8 else group.KIND_AUTO) if onnx else group.KIND_GPU
    for place in (Place.PLAIN, Place.GPU_CONTAINER, Place.GPU_EMBEDDED):
        found = model_config(variant, BATCH_SIZES, place=place).instance_group[0].kind
        assert found == (group.KIND_GPU if expected == group.KIND_AUTO and place is not Place.PLAIN else expected)


if __name__ == "__main__":
    for each in VARIANTS.values():
        for file, text in texts(each, BATCH_SIZES).items():
            write_atomically(GOLDENS / each.name / file, text)
