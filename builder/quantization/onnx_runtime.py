"""INT8 for ONNX Runtime on a CPU, made by ONNX Runtime's own quantiser.

Its kernels for x86 multiply unsigned activations by signed weights, so activations are U8 with a zero point and weights
S8 with a scale for each output channel: all convolutions and additions then run on integers. TensorRT refuses such a
graph (builder/quantization/tensorrt.py). What stays FP32 is the last layer, 5,120 of 555 million multiplications:
quantised it would cut the logits off at the largest one that was met in calibration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx

from builder.errors import BuilderError
from builder.export import onnx_export
from builder.quantization import graph
from builder.signature import SIGNATURE, Signature

if TYPE_CHECKING:
    from builder.quantization.calibration import Calibration

OPERATORS = ("Conv", "Add", "MaxPool", "Relu")
REDUCE_RANGE = True
"""Weights of seven bits. A processor without VNNI adds pairs of U8 x S8 products in 16 bits, where eight-bit weights
saturate: 13 % of the hard images changed class on an AVX2 machine, and NVIDIA's container cannot be told to be exact.
With seven every processor computes the same, as fast and no less accurate (`benchmarks/int8_selection.py`)."""


WEIGHT_BITS = "quantized_weight_bits"
"""An entry of the model's metadata: the embedded server takes exact, slower kernels where eight bits could saturate."""


def quantize(
    content: bytes,
    calibration: Calibration,
    *,
    operators: tuple[str, ...] = OPERATORS,
    per_channel: bool = True,
    reduce_range: bool = REDUCE_RANGE,
    keep_float: tuple[str, ...] = (),
    signature: Signature = SIGNATURE,
) -> bytes:
    """Quantise an exported FP32 graph.

    Args:
        content: of the ONNX file.
        calibration: of the same checkpoint.
        operators: which kinds of node are quantised.
        per_channel: a scale for each output channel of a convolution, instead of one for all.
        reduce_range: weights of seven bits.
        keep_float: names of nodes that stay FP32.
        signature: inputs and outputs that the graph must have.

    Returns:
        A serialised ONNX model with QuantizeLinear and DequantizeLinear nodes.

    Raises:
        CalibrationError: it lacks a tensor of this graph.
        BuilderError: the quantiser made something else than was asked for.
    """
    from onnxruntime.quantization import QDQQuantizer, QuantType

    model = onnx.load_from_string(content)
    excluded = [*keep_float, *graph.normalization(model)]
    graph.check_ranges(model, calibration, operators, excluded)
    quantizer = QDQQuantizer(
        model,
        per_channel,
        reduce_range,
        QuantType.QInt8,
        QuantType.QUInt8,
        graph.tensors_range(calibration),
        [],
        excluded,
        list(operators),
        {},
    )
    quantized = graph.quantized_by(quantizer)
    onnx.helper.set_model_props(quantized, {WEIGHT_BITS: "7" if reduce_range else "8"})
    problems = onnx_export.served_problems(quantized, signature)
    problems += graph.unquantized(quantized, operators, excluded)
    if problems:
        raise BuilderError(f"the quantised model is not as asked for: {'; '.join(problems)}")
    return quantized.SerializeToString(deterministic=True)
