"""INT8 and FP8 for TensorRT, on the FP16 graph.

TensorRT takes zero points of 0 only, so activations are S8 and symmetric; the CPU's graph (onnx_runtime.py) is refused.
A bias stays FP16. It fuses a convolution with the addition and the ReLU after it where the shortcut is quantised and
the convolution's own output is not (NVIDIA's TensorRT documentation, "Q/DQ placement recommendations"); without the
former the addition runs in FP16. The first convolution, whose three channels fill no tensor core, and the last layer
stay FP16.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from builder.errors import BuilderError
from builder.export import onnx_export
from builder.quantization import graph
from builder.signature import SIGNATURE, Signature
from builder.variants import Precision

if TYPE_CHECKING:
    from builder.quantization.calibration import Calibration

OPSET = 19
"""The first whose QuantizeLinear takes FP16 tensors, and knows FP8."""

OPERATORS = ("Conv", "Add")
_LARGEST = {Precision.INT8: 127.0, Precision.FP8: 448.0}  # of S8, of E4M3


def quantize(content: bytes, calibration: Calibration, precision: Precision, signature: Signature = SIGNATURE) -> bytes:
    """Quantise an exported FP16 graph.

    Args:
        content: of the ONNX file.
        calibration: of the same checkpoint.
        precision: INT8 or FP8 (E4M3).
        signature: inputs and outputs that the graph must have.

    Returns:
        A serialised ONNX model that computes in FP16 around the quantised convolutions and additions.

    Raises:
        CalibrationError: the calibration lacks a tensor of this graph.
        BuilderError: the quantiser made something else than was asked for.
    """
    from onnxruntime.quantization import QDQQuantizer, QuantType

    model = onnx.load_from_string(content)
    _raise_opset(model)
    first = next(node.name for node in model.graph.node if node.op_type == "Conv")
    excluded = [*graph.normalization(model), first]
    graph.check_ranges(model, calibration, OPERATORS, excluded)
    additions = [node.name for node in model.graph.node if node.op_type == "Add" and node.name not in excluded]
    options = {
        "ActivationSymmetric": True,
        "WeightSymmetric": True,
        "QuantizeBias": False,
        # TensorRT quantises the weights itself, from the FP16 ones in the graph
        "AddQDQPairToWeight": True,
        "OpTypesToExcludeOutputQuantization": list(OPERATORS),
    }
    quantizer = QDQQuantizer(
        model,
        True,
        False,
        QuantType.QInt8,
        QuantType.QInt8,
        graph.tensors_range(calibration, np.float16),
        [],
        excluded,
        list(OPERATORS),
        options,
    )
    quantized = graph.quantized_by(quantizer)
    _fuse_additions(quantized, additions)
    if precision is Precision.FP8:
        _to_fp8(quantized)
    problems = onnx_export.served_problems(quantized, signature, OPSET)
    problems += graph.unquantized(quantized, ("Conv",), excluded) + _float_shortcuts(quantized, additions)
    if problems:
        raise BuilderError(f"the quantised model is not as asked for: {'; '.join(problems)}")
    return quantized.SerializeToString(deterministic=True)


def _raise_opset(model: onnx.ModelProto) -> None:
    """From the exporter's to `OPSET`; of the operators here it only allows more types (onnx, Changelog.md)."""
    for entry in model.opset_import:
        if not entry.domain:
            entry.version = OPSET


def _fuse_additions(model: onnx.ModelProto, additions: list[str]) -> None:
    """Give each addition the convolution's own output, without the rounding between the two."""
    producers = {name: node for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        if node.name in additions:
            dequantize = producers[node.input[0]]
            quantize = producers[dequantize.input[0]]
            node.input[0] = quantize.input[0]
            model.graph.node.remove(dequantize)
            model.graph.node.remove(quantize)


def _float_shortcuts(model: onnx.ModelProto, additions: list[str]) -> list[str]:
    producers = {name: node.op_type for node in model.graph.node for name in node.output}
    expected = ["Conv", "DequantizeLinear"]
    return [
        f"Add {node.name}: expected inputs from {expected}, found {found}"
        for node in model.graph.node
        if node.name in additions and (found := [producers[name] for name in node.input]) != expected
    ]


def _to_fp8(model: onnx.ModelProto) -> None:
    """Turn S8 into E4M3: the same tensors with scales that reach as far, and zero points of the new type."""
    zero_points = {node.input[2] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    scales = {node.input[1] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    factor = _LARGEST[Precision.INT8] / _LARGEST[Precision.FP8]
    for tensor in model.graph.initializer:
        if tensor.name in scales:
            value = numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array((value * factor).astype(value.dtype), tensor.name))
        elif tensor.name in zero_points:
            zero = bytes(max(int(np.prod(tensor.dims)), 1))
            new = TensorProto(name=tensor.name, data_type=TensorProto.FLOAT8E4M3FN, dims=tensor.dims, raw_data=zero)
            tensor.CopyFrom(new)
    for value_info in list(model.graph.value_info):
        if value_info.type.tensor_type.elem_type == TensorProto.INT8:
            model.graph.value_info.remove(value_info)
