from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from builder.export import onnx_export
from builder.network import checkpoint
from builder.network.resnet import Stem
from builder.quantization.onnx_runtime import quantize
from builder.quantization.ranges import measure
from builder.signature import BATCH_SIZES
from builder.variants import Precision
from builder.verification.parity import reference_logits
from cifar10 import Dataset, Split, synthetic_images
from tests.builder.conftest import write_checkpoint


@pytest.fixture(scope="module", params=list(Stem))
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    path = write_checkpoint(tmp_path_factory.mktemp("export") / "checkpoint.safetensors", request.param)
    classifier = checkpoint.load(path).classifier()
    return classifier, onnx_export.export(classifier, BATCH_SIZES)


@pytest.fixture
def calibrated_for():
    """Quantise an exported graph, calibrated on synthetic images."""

    def quantized(content: bytes) -> bytes:
        images = synthetic_images(32)
        training = Dataset(images, np.zeros(len(images), np.int64), "CIFAR-10", "0" * 64, Split.TRAIN)
        return quantize(content, measure(content, "0" * 64, training))

    return quantized


def test_answers_as_pytorch_at_any_batch_size(exported):
    classifier, content = exported
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    images = synthetic_images(20)
    reference = reference_logits(classifier, images)
    for size in (1, 3, 20):
        (logits,) = session.run(["logits"], {"images": images[:size]})
        assert logits.dtype == np.float32
        np.testing.assert_allclose(logits, reference[:size], atol=1e-4)
    assert len(set(reference.argmax(axis=1))) > 1, "all images in one class would hide a mix-up of rows"


def test_every_supported_triton_can_read_it(exported):
    model = onnx.load_from_string(exported[1])
    assert model.ir_version <= 10
    assert [(entry.domain, entry.version <= 20) for entry in model.opset_import] == [("", True)]
    assert {node.op_type for node in model.graph.node}.isdisjoint({"BatchNormalization", "Shape", "Reshape"})


def test_first_node_casts_the_pixels(exported):
    model = onnx.load_from_string(exported[1])
    users = [node for node in model.graph.node if "images" in node.input]
    assert [node.op_type for node in users] == ["Cast"], "TensorRT takes UINT8 only as an input that is cast at once"


def test_export_names_no_path_of_this_machine(exported):
    assert str(Path(__file__).parents[3]).encode() not in exported[1]
    assert b"site-packages" not in exported[1]


def test_no_value_info_describes_an_initializer(exported):
    graph = onnx.load_from_string(exported[1]).graph
    assert {value.name for value in graph.value_info}.isdisjoint(tensor.name for tensor in graph.initializer)


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.INT8])
def test_onnx_runtimes_own_tools_take_what_is_published(exported, precision, tmp_path, calibrated_for):
    """quantize_dynamic fails on an entry of value_info whose weight it reshapes; the others infer every shape anew."""
    from onnxruntime.quantization import QuantType, quant_pre_process, quantize_dynamic
    from onnxruntime.tools.symbolic_shape_infer import SymbolicShapeInference

    content = exported[1]
    published = tmp_path / "model.onnx"
    published.write_bytes(content if precision is Precision.FP32 else calibrated_for(content))
    images = synthetic_images(8)
    expected = onnxruntime.InferenceSession(published, providers=["CPUExecutionProvider"]).run(None, {"images": images})

    quant_pre_process(published, tmp_path / "pre.onnx")
    inferred = SymbolicShapeInference.infer_shapes(onnx.load(published), auto_merge=True, guess_output_rank=False)
    onnx.save(inferred, tmp_path / "symbolic.onnx")
    onnx.save(
        onnx.shape_inference.infer_shapes(onnx.load(published), strict_mode=True, data_prop=True),
        tmp_path / "inferred.onnx",
    )
    tolerances = {"pre": 1e-4, "symbolic": 1e-4, "inferred": 1e-4}
    if precision is Precision.FP32:  # what is quantised already it refuses
        quantize_dynamic(published, tmp_path / "dynamic.onnx", weight_type=QuantType.QUInt8)
        tolerances["dynamic"] = 0.2
    for name, tolerance in tolerances.items():
        session = onnxruntime.InferenceSession(tmp_path / f"{name}.onnx", providers=["CPUExecutionProvider"])
        (found,) = session.run(None, {"images": images})
        largest = np.abs(expected[0]).max()
        np.testing.assert_allclose(found, expected[0], atol=tolerance * largest, err_msg=name)


def test_export_repeats_bit_for_bit(exported):
    classifier, content = exported
    assert onnx_export.export(classifier, BATCH_SIZES) == content


def test_an_fp16_graph_computes_in_fp16_and_keeps_its_signature(exported):
    classifier, _ = exported
    content = onnx_export.export(classifier, BATCH_SIZES, Precision.FP16)
    model = onnx.load_from_string(content)
    dtypes = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    layers = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm")]
    assert len(layers) == 21, "20 convolutions and the last layer"
    assert {dtypes[name] for node in layers for name in node.input[1:]} == {onnx.TensorProto.FLOAT16}
    assert [node.op_type for node in model.graph.node if "images" in node.input] == ["Cast"]
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    images = synthetic_images(20)
    (logits,) = session.run(["logits"], {"images": images})
    reference = reference_logits(classifier, images)
    assert logits.dtype == np.float32
    assert 0 < np.abs(logits - reference).max() < 0.02 * np.abs(reference).max(), "rounded, but not wrong"


def test_check_finds_a_layer_left_in_fp32(exported):
    problems = onnx_export.check(onnx.load_from_string(exported[1]), Precision.FP16)
    assert sum("found FLOAT" in problem for problem in problems) == 21


def _broken(content: bytes, how: str) -> onnx.ModelProto:
    model = onnx.load_from_string(content)
    if how == "name":
        for node in model.graph.node:
            node.input[:] = ["pixels" if name == "images" else name for name in node.input]
        model.graph.input[0].name = "pixels"
    elif how == "dtype":
        model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    elif how == "batch":
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    elif how == "opset":
        model.opset_import[0].version = 22
    elif how == "IR version":
        model.ir_version = 11
    return model


@pytest.mark.parametrize("how", ["name", "dtype", "batch", "opset", "IR version"])
def test_check_names_what_is_wrong(exported, how):
    problems = onnx_export.check(_broken(exported[1], how))
    expected = {"name": "pixels", "dtype": "FP32", "batch": "2, 32", "opset": "opset", "IR version": "IR version"}
    assert any(expected[how] in problem for problem in problems), problems


def test_check_accepts_what_was_exported(exported):
    assert onnx_export.check(onnx.load_from_string(exported[1])) == []
