from __future__ import annotations

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from console.triton_faults import faults_of, known_faults

BOTH = "optimization { cuda { graphs: true output_copy_stream: true } }"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (f'platform: "tensorrt_plan" {BOTH}', True),
        (f'backend: "tensorrt" {BOTH}', True),
        (f'default_model_filename: "other.plan" {BOTH}', True),
        (BOTH, True),  # Triton completes it to TensorRT where the file is model.plan
        (f'platform: "onnxruntime_onnx" {BOTH}', False),
        (f'backend: "tensorrt_rtx" {BOTH}', False),
        ('platform: "tensorrt_plan" optimization { cuda { graphs: true } }', False),
        ('platform: "tensorrt_plan" optimization { cuda { output_copy_stream: true } }', False),
        ('platform: "tensorrt_plan"', False),
    ],
)
def test_graphs_with_an_output_stream_are_named_for_the_backend_that_mixes_up_answers(text, wrong):
    faults = known_faults(text_format.Parse(text, pb.ModelConfig()))
    assert bool(faults) is wrong
    for fault in faults:
        assert "WRONG" in fault
        assert "24.05 to 26.07" in fault
        assert "Remove output_copy_stream" in fault


@pytest.mark.parametrize(
    ("head", "value", "wrong"),
    [
        ('platform: "onnxruntime_onnx"', "1", True),
        ('backend: "onnxruntime"', "true", True),
        ("", "1", True),
        ('platform: "onnxruntime_onnx"', "0", False),
        ('backend: "mine"', "1", False),
    ],
)
def test_graphs_of_onnx_runtime_itself_are_named_for_the_backend_that_dies_of_them(head, value, wrong):
    cuda = f'gpu_execution_accelerator {{ name: "cuda" parameters {{ key: "enable_cuda_graph" value: "{value}" }} }}'
    text = f"{head} optimization {{ execution_accelerators {{ {cuda} }} }}"
    faults = known_faults(text_format.Parse(text, pb.ModelConfig()))
    assert bool(faults) is wrong
    assert all("SIGSEGV" in fault and "Remove enable_cuda_graph" in fault for fault in faults)


def test_a_fault_of_several_configurations_is_said_once_with_their_files():
    bad = text_format.Parse(f'platform: "tensorrt_plan" {BOTH}', pb.ModelConfig())
    (fault,) = faults_of({"config.pbtxt": bad, "configs/a.pbtxt": pb.ModelConfig(), "configs/b.pbtxt": bad})
    assert fault.endswith("(in config.pbtxt, configs/b.pbtxt)")
