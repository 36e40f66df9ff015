"""Reading the engine inspector, and what counts as proof. Its answers here have the form of those that NVIDIA shows."""

from __future__ import annotations

import json

import pytest

from builder.errors import PlanError
from builder.tensorrt.engine_inspector import parse_inspection, precision_of
from builder.tensorrt.proof import precision_problems
from builder.variants import Precision


def layer(name, inputs, outputs, *, kind="CaskConvolution", weights=None, metadata="", key="Format/Datatype"):
    described = {"Name": name, "LayerType": kind, "Metadata": metadata}
    for side, tensors in (("Inputs", inputs), ("Outputs", outputs)):
        described[side] = [{"Name": tensor, "Dimensions": [64], key: text} for tensor, text in tensors.items()]
    return {**described, **({"Weights": {"Type": weights, "Count": 9408}} if weights else {})}


def in_ten(*layers):
    return json.dumps({"Layers": layers, "Bindings": ["images", "logits"]})


def in_eleven(*layers):
    tensors = [{"Name": "images", "IOMode": "Input", "DataType": "UInt8", "Dimensions": [-1, 32, 32, 3]}]
    tensors += [{"Name": "logits", "IOMode": "Output", "DataType": "Float", "Dimensions": [-1, 10]}]
    return json.dumps({"Layers": layers, "I/O Tensors": tensors})


HALF = "Channel major FP16 format where channel % 8 == 0"
CONVOLUTION = layer("node_conv2d + node_relu", {"a": HALF}, {"b": HALF}, weights="Half")


@pytest.mark.parametrize(
    ("text", "precision"),
    [
        ("Half", "FP16"),
        (HALF, "FP16"),
        ("Row major linear FP32", "FP32"),
        ("Float", "FP32"),
        ("BFloat16", "BF16"),
        ("Thirty-two wide channel vectorized row major Int8 format.", "INT8"),
        ("UInt8", "UINT8"),
        ("N/A due to dynamic shapes", "unknown"),
    ],
)
def test_precisions_as_tensorrt_writes_them(text, precision):
    assert precision_of(text) == precision


@pytest.mark.parametrize("dialect", [in_ten, in_eleven])
def test_both_dialects_name_the_network_s_inputs_and_outputs(dialect):
    assert parse_inspection(dialect(CONVOLUTION)).io_names == ("images", "logits")


def test_eleven_has_the_type_apart_from_the_format():
    described = layer("node_conv2d", {"a": "Half"}, {"b": "Half"}, key="DataType")
    for tensor in described["Inputs"] + described["Outputs"]:
        tensor["Format"] = "Row major linear FP32 format (kLINEAR)"  # a layout's name must not outweigh the type
    inspection = parse_inspection(in_eleven(described))
    assert inspection.layers_by_precision() == {"FP16": 1}


def test_a_profile_s_suffix_is_no_part_of_a_name():
    content = json.dumps({"Layers": [], "Bindings": ["images", "images [profile 1]"]})
    assert parse_inspection(content).io_names == ("images", "images")


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"Layers": [{}]}', '{"Layers": 3}'])
def test_an_answer_that_cannot_be_read_proves_nothing(text):
    with pytest.raises(PlanError, match="cannot be read"):
        parse_inspection(text)


def problems(*layers, convolutions=("node_conv2d",), precision=Precision.FP16):
    return precision_problems(parse_inspection(in_ten(*layers)), convolutions, precision)


def test_half_convolutions_are_proof():
    assert problems(CONVOLUTION) == []


def test_the_network_s_own_tensors_keep_their_signed_types():
    first = layer("node_cast + node_conv2d", {"images": "UInt8"}, {"b": HALF})
    last = layer("node_conv2d_1 + node_cast_1", {"b": HALF}, {"logits": "Float"})
    assert problems(first, last, convolutions=("node_conv2d", "node_conv2d_1")) == []


def test_a_copy_of_a_convolution_s_input_is_no_convolution():
    copy = layer("Reformatting CopyNode for node_conv2d", {"a": "Float"}, {"c": HALF}, kind="Reformat")
    assert problems(copy, CONVOLUTION) == []


def test_one_float_convolution_among_many_is_found():
    rest = [layer(f"node_conv2d_{index}", {"a": HALF}, {"b": HALF}) for index in range(1, 20)]
    slow = layer("node_conv2d", {"a": "Float"}, {"b": "Float"})
    (problem,) = problems(*rest, slow, convolutions=("node_conv2d", *(f"node_conv2d_{i}" for i in range(1, 20))))
    assert problem == "CaskConvolution node_conv2d: expected FP16, found FP32"


def test_float_weights_under_half_tensors_are_found():
    assert "found FP16, FP32" in problems(layer("node_conv2d", {"a": HALF}, {"b": HALF}, weights="Float"))[0]


def test_fused_layers_are_known_by_their_onnx_nodes():
    metadata = "[ONNX Layer: node_conv2d]\x1e[ONNX Layer: node_relu]"
    fused = layer("__myl_ConvRelu_0", {"a": "Half"}, {"b": "Half"}, kind="kgen", metadata=metadata)
    assert problems(fused) == []
    assert problems({**fused, "Inputs": [{"Name": "a", "Format/Datatype": "Float"}]})


def test_a_name_that_begins_alike_is_another_node():
    (problem,) = problems(layer("node_conv2d_1", {"a": HALF}, {"b": HALF}, kind="kgen"))
    assert problem.startswith("only 0 of 1 convolutions are shown in FP16; not node_conv2d")


def test_an_opaque_layer_proves_nothing():
    opaque = layer("{ForeignNode[node_cast...node_linear]}", {"images": "UInt8"}, {"logits": "Float"}, kind="Myelin")
    assert problems(opaque)


def test_shapes_left_open_prove_nothing():
    unknown = "N/A due to dynamic shapes"
    assert "only 0 of 1" in problems(layer("node_conv2d", {"a": unknown}, {"b": unknown}))[0]


def test_renamed_convolutions_count_when_all_are_there():
    renamed = layer("convolution 7", {"a": HALF}, {"b": HALF})
    assert problems(renamed) == []
    assert problems(renamed, convolutions=("node_conv2d", "node_conv2d_1"))


INT8 = "Thirty-two wide channel vectorized row major Int8 format."


@pytest.mark.parametrize(
    ("layers", "problem"),
    [
        ([layer("q1 + relu", {"a": INT8}, {"b": INT8}, weights="Int8")], ""),
        ([layer("q1", {"a": INT8}, {"b": HALF}, weights="Int8")], ""),
        ([layer("q1", {"a": INT8}, {"b": INT8}), layer("first", {"c": HALF}, {"a": HALF}, weights="Half")], ""),
        ([layer("q1", {"a": HALF}, {"b": HALF}, weights="Half")], "expected INT8, found FP16"),
        ([layer("q1", {"a": "N/A"}, {"b": "N/A"})], "expected INT8, found none"),
        ([layer("other", {"a": INT8}, {"b": INT8}, kind="Pooling")], "only 0 of 1 convolutions are shown in INT8"),
    ],
    ids=["8 bits throughout", "FP16 comes out", "the first one is not asked", "FP16", "unknown", "absent"],
)
def test_a_quantised_convolution_is_shown_to_run_on_8_bits(layers, problem):
    found = problems(*layers, convolutions=("q1",), precision=Precision.INT8)
    assert (problem in found[0]) if problem else found == []
