from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from builder.signature import BATCH_PLAN, SIGNATURE, BatchPlan
from builder.triton_config import Scheduling, model_config, parse, to_text
from builder.variants import VARIANTS, Engine, variants_named
from console import UserError
from console.files import write_atomically


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS)
def config(request):
    return model_config(request.param, BATCH_PLAN)


def test_text_reads_back_as_the_same_message(config):
    assert parse(to_text(config)) == config


def test_triton_refuses_a_field_that_does_not_exist(config):
    with pytest.raises(text_format.ParseError, match="max_batchsize"):
        parse(to_text(config).replace("max_batch_size", "max_batchsize"))


def test_config_never_names_a_runtime(config):
    # Triton's containers hold no model.py; naming a runtime would tie the repository to the embedded server.
    assert not config.runtime
    assert config.platform in {engine.value for engine in Engine}


def test_batches_and_warm_up_follow_the_batch_plan():
    plan = BatchPlan(opt=4, sizes=(1, 4, 12))
    config = model_config(VARIANTS["resnet18_onnx"], plan)
    assert config.max_batch_size == 12
    assert [warmup.batch_size for warmup in config.model_warmup] == [1, 4, 12]


def test_a_bounded_queue_refuses_what_does_not_fit():
    config = model_config(VARIANTS["resnet18_onnx"], BATCH_PLAN, scheduling=Scheduling(max_queue_size=8))
    policy = config.dynamic_batching.default_queue_policy
    assert policy.max_queue_size == 8
    assert policy.timeout_action == policy.REJECT


@pytest.mark.parametrize("name", ["resnet18_onnx", "resnet18_tensorrt"])
def test_instances_are_as_many_as_asked_for(name):
    config = model_config(VARIANTS[name], BATCH_PLAN, scheduling=Scheduling(instances=2))
    assert [group.count for group in config.instance_group] == [2]


def test_without_a_bound_the_batcher_keeps_its_prefetching_path(config):
    assert config.HasField("dynamic_batching")
    assert not config.dynamic_batching.HasField("default_queue_policy")


def test_tensors_are_as_signed(config):
    assert (config.input[0].name, list(config.input[0].dims)) == (SIGNATURE.input.name, [32, 32, 3])
    assert config.output[0].label_filename == "labels.txt"


@pytest.mark.parametrize("sizes", [(), (2, 4), (1, 4, 2), (1, 1, 2)])
def test_batch_plan_must_ascend_from_one(sizes):
    with pytest.raises(ValueError, match="ascend from 1"):
        BatchPlan(opt=1, sizes=sizes)


def test_unknown_model_lists_the_known_ones():
    with pytest.raises(UserError, match="resnet19") as error:
        variants_named("resnet18_onnx,resnet19")
    assert "resnet18_onnx" in error.value.hint


GOLDENS = Path(__file__).parent / "goldens"


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_config_is_the_golden_one(variant):
    golden = GOLDENS / variant.name / "config.pbtxt"
    config = model_config(variant, BATCH_PLAN)
    assert to_text(config) == golden.read_text(), (
        "if the change is meant: python -m tests.builder.test_triton_config writes it anew"
    )
    assert parse(golden.read_text()) == config


def test_there_is_a_golden_config_for_every_model():
    assert {path.name for path in GOLDENS.iterdir()} == set(VARIANTS)


@pytest.mark.parametrize("name", ["resnet18_tensorrt", "resnet18_tensorrt_tf32", "resnet18_tensorrt_fp32"])
def test_every_size_of_the_plan_gets_a_cuda_graph(name):
    plan = BatchPlan(opt=4, sizes=(1, 4, 12))
    cuda = model_config(VARIANTS[name], plan).optimization.cuda
    assert cuda.graphs
    assert cuda.output_copy_stream
    assert [spec.batch_size for spec in cuda.graph_spec] == [1, 4, 12]
    assert {tuple(spec.input["images"].dim) for spec in cuda.graph_spec} == {(32, 32, 3)}


def test_a_plan_runs_on_a_gpu_only_and_an_onnx_model_where_it_can():
    kinds = {name: model_config(VARIANTS[name], BATCH_PLAN).instance_group[0].kind for name in VARIANTS}
    group = pb.ModelInstanceGroup
    assert kinds == {
        "resnet18_onnx": group.KIND_AUTO,
        "resnet18_onnx_tf32": group.KIND_AUTO,
        "resnet18_onnx_fp16": group.KIND_AUTO,
        "resnet18_tensorrt": group.KIND_GPU,
        "resnet18_tensorrt_tf32": group.KIND_GPU,
        "resnet18_tensorrt_fp32": group.KIND_GPU,
    }


def test_onnx_runtime_does_not_measure_every_kernel_at_every_new_batch_size():
    config = model_config(VARIANTS["resnet18_onnx"], BATCH_PLAN)
    assert config.parameters["cudnn_conv_algo_search"].string_value == "1"
    assert not model_config(VARIANTS["resnet18_tensorrt"], BATCH_PLAN).parameters


if __name__ == "__main__":
    for each in VARIANTS.values():
        write_atomically(GOLDENS / each.name / "config.pbtxt", to_text(model_config(each, BATCH_PLAN)))
