"""Graphs of TensorRT's kind; TensorRT for RTX, a real TensorRT, parses and builds them without a GPU."""

from __future__ import annotations

import json

import numpy as np
import onnx
import onnxruntime
import pytest

from builder.quantization import onnx_runtime, tensorrt
from builder.tensorrt.proof import convolution_names
from builder.variants import Precision
from builder.verification.parity import reference_logits
from console.tensorrt_rtx import NEWEST
from tests.support.tensorrt_rtx import run_python

KINDS = {Precision.INT8: onnx.TensorProto.INT8, Precision.FP8: onnx.TensorProto.FLOAT8E4M3FN}

BUILD = """
import json, sys
from pathlib import Path
from builder.errors import BuilderError
from builder.signature import BATCH_SIZES
from builder.tensorrt.library import TENSORRT_RTX
from builder.tensorrt.machine import load_library
from builder.tensorrt.network import PlanOptions
from builder.tensorrt.plan import compile_plan
from builder.variants import Precision

library = load_library(TENSORRT_RTX)
found = {}
for path in map(Path, sys.argv[1:]):
    precision = Precision.FP8 if path.stem == "fp8" else Precision.INT8
    options = PlanOptions(timing_cache=None)
    try:
        plan = compile_plan(library, None, path.read_bytes(), BATCH_SIZES, precision, options, library=TENSORRT_RTX)
        found[path.stem] = {"bytes": len(plan.content), "precision": plan.info.precision}
    except BuilderError as error:
        found[path.stem] = {"error": str(error)}
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def graphs(exported, calibrated):
    return {kind: tensorrt.quantize(exported[Precision.FP16], calibrated, kind) for kind in KINDS}


@pytest.fixture(scope="module")
def built(graphs, exported, calibrated, tmp_path_factory):
    folder = tmp_path_factory.mktemp("quantized")
    for kind, content in graphs.items():
        (folder / f"{kind.value}.onnx").write_bytes(content)
    (folder / "cpu.onnx").write_bytes(onnx_runtime.quantize(exported[Precision.FP32], calibrated))
    done = run_python(NEWEST, "-c", BUILD, *(str(folder / f"{name}.onnx") for name in ("int8", "fp8", "cpu")))
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", ["int8", "fp8"])
def test_a_real_tensorrt_accepts_the_graph_and_builds_it(built, graphs, name):
    assert built[name]["precision"] == name
    assert 1_000_000 < built[name]["bytes"] < 0.8 * len(graphs[Precision(name)])


def test_a_real_tensorrt_refuses_the_cpus_graph_and_the_reason_is_passed_on(built):
    said = built["cpu"]["error"]
    assert said.startswith("TensorRT's ONNX parser refused the model")
    assert "DequantizeLinear" in said
    assert "Int32" in said


@pytest.mark.parametrize("kind", KINDS)
def test_it_answers_nearly_as_pytorch(source, training, graphs, kind):
    options = onnxruntime.SessionOptions()
    # with its optimisations ONNX Runtime answers wrong where FP8 is concerned, and this is not its graph
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(graphs[kind], options, providers=["CPUExecutionProvider"])
    reference = reference_logits(source.classifier(), training.images)
    (logits,) = session.run(None, {"images": training.images})
    difference = np.abs(logits - reference).max() / np.abs(reference).max()
    assert 0 < difference < 0.3, "rounded, but not wrong"


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_symmetric_with_a_float_bias_and_quantised_shortcuts(graphs, kind):
    model = onnx.load_from_string(graphs[kind])
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    producers = {name: node for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear":
            assert tensors[node.input[2]].data_type == KINDS[kind]
            assert not any(tensors[node.input[2]].raw_data)
            assert tensors[node.input[1]].data_type == onnx.TensorProto.FLOAT16
        if node.op_type == "Conv":
            assert tensors[node.input[2]].data_type == onnx.TensorProto.FLOAT16
    additions = [node for node in model.graph.node if node.op_type == "Add"][1:]  # after the normalisation's
    assert len(additions) == 8
    for node in additions:
        assert [producers[name].op_type for name in node.input] == ["Conv", "DequantizeLinear"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_convolution_and_the_last_layer_stay_fp16(graphs, kind):
    model = onnx.load_from_string(graphs[kind])
    first = next(node for node in model.graph.node if node.op_type == "Conv")
    last = next(node for node in model.graph.node if node.op_type == "Gemm")
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    assert {types[node.input[1]] for node in (first, last)} == {onnx.TensorProto.FLOAT16}
    names = convolution_names(graphs[kind])
    assert len(names) == 19
    assert first.name not in names, "the proof of a plan must not ask 8 bits of it"


def test_it_repeats_bit_for_bit(exported, calibrated, graphs):
    for kind, content in graphs.items():
        assert tensorrt.quantize(exported[Precision.FP16], calibrated, kind) == content
