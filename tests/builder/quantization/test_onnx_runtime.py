from __future__ import annotations

import collections

import numpy as np
import onnx
import onnxruntime
import pytest

from builder.quantization import onnx_runtime
from builder.variants import Precision
from builder.verification.parity import reference_logits
from cifar10 import synthetic_images


@pytest.fixture(scope="module")
def quantized(exported, calibrated):
    return onnx_runtime.quantize(exported[Precision.FP32], calibrated)


def operators(content: bytes) -> collections.Counter[str]:
    return collections.Counter(node.op_type for node in onnx.load_from_string(content).graph.node)


def test_it_answers_nearly_as_pytorch_at_any_batch_size(source, training, quantized):
    session = onnxruntime.InferenceSession(quantized, providers=["CPUExecutionProvider"])
    reference = reference_logits(source.classifier(), training.images)
    assert len(set(reference.argmax(axis=1))) > 1, "all images in one class would hide a mix-up of rows"
    for size in (1, 7, 64):
        (logits,) = session.run(None, {"images": training.images[:size]})
        assert logits.dtype == np.float32
        difference = np.abs(logits - reference[:size]).max() / np.abs(reference).max()
        assert 0 < difference < 0.1, "rounded, but not wrong"


def test_activations_are_u8_and_weights_s8_with_a_scale_for_each_channel(quantized):
    model = onnx.load_from_string(quantized)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    producers = {name: node for node in model.graph.node for name in node.output}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 20
    for node in convolutions:
        activation, weight = (producers[name] for name in node.input[:2])
        assert tensors[activation.input[2]].data_type == onnx.TensorProto.UINT8
        values, scales = tensors[weight.input[0]], tensors[weight.input[1]]
        assert values.data_type == onnx.TensorProto.INT8
        assert list(scales.dims) == [values.dims[0]]


def test_onnx_runtime_computes_every_convolution_and_addition_on_integers(quantized, tmp_path):
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(quantized, options, providers=["CPUExecutionProvider"])
    found = operators((tmp_path / "optimized.onnx").read_bytes())
    assert found["QLinearConv"] == 20
    assert found["QLinearAdd"] == 8
    assert found["Conv"] + found["FusedConv"] + found["NhwcFusedConv"] == 0


def test_the_pixels_and_the_last_layer_stay_float(quantized):
    model = onnx.load_from_string(quantized)
    producers = {name: node.op_type for node in model.graph.node for name in node.output}
    kept = [node for node in model.graph.node if node.op_type in ("Cast", "Transpose", "Mul", "ReduceMean", "Gemm")]
    kept += [node for node in model.graph.node if node.op_type == "Add" and producers[node.input[0]] == "Mul"]
    assert len(kept) == 6
    weights = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    floats = [name for node in kept for name in node.input if weights.get(name) == onnx.TensorProto.FLOAT]
    assert len(floats) == 4, "scale, shift, and weight and bias of the last layer"
    assert {producers[name] for node in kept for name in node.input if name in producers} <= {
        "Cast", "Transpose", "Mul", "ReduceMean", "DequantizeLinear",
    }  # fmt: skip
    assert [producers[node.input[0]] for node in kept if node.op_type == "Gemm"] == ["ReduceMean"]


def test_it_is_a_quarter_of_the_size_and_repeats_bit_for_bit(exported, calibrated, quantized):
    assert len(quantized) < 0.27 * len(exported[Precision.FP32])
    assert onnx_runtime.quantize(exported[Precision.FP32], calibrated) == quantized


def test_every_supported_triton_can_read_it(quantized):
    model = onnx.load_from_string(quantized)
    assert model.ir_version <= 10
    assert {entry.domain for entry in model.opset_import} == {""}, "no operator of ONNX Runtime's own"


def test_a_layer_can_be_kept_float(exported, calibrated):
    model = onnx.load_from_string(exported[Precision.FP32])
    first = next(node.name for node in model.graph.node if node.op_type == "Conv")
    content = onnx_runtime.quantize(exported[Precision.FP32], calibrated, keep_float=(first,))
    kept = next(node for node in onnx.load_from_string(content).graph.node if node.name == first)
    assert not any(name.endswith("DequantizeLinear_Output") for name in kept.input)


def test_pairs_of_its_products_cannot_saturate(quantized):
    largest = max(
        int(np.abs(onnx.numpy_helper.to_array(tensor).astype(int)).max())
        for tensor in onnx.load_from_string(quantized).graph.initializer
        if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) == 4
    )
    assert 2 * 255 * largest <= 32767


def test_the_kernels_that_cannot_saturate_give_the_same_answers(quantized):
    """On any processor; with eight bits one without VNNI, which has both kinds of kernel, misread 7 % of images."""
    images, answers = synthetic_images(64), []
    for exact in ("0", "1"):
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.x64quantprecision", exact)
        session = onnxruntime.InferenceSession(quantized, options, providers=["CPUExecutionProvider"])
        answers.append(session.run(None, {"images": images})[0])
    np.testing.assert_allclose(answers[0], answers[1], rtol=0, atol=1e-4 * np.abs(answers[1]).max())
