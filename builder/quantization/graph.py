"""What the quantisers for both engines share: what they are given, and what must have become of it."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from builder.errors import CalibrationError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    import onnx

    from builder.quantization.calibration import Calibration


def normalization(model: onnx.ModelProto) -> list[str]:
    """The nodes before the first convolution.

    They stay as they are: quantised, each would round the pixels once more.
    """
    first = next(index for index, node in enumerate(model.graph.node) if node.op_type == "Conv")
    return [node.name for node in model.graph.node[:first]]


def check_ranges(
    model: onnx.ModelProto, calibration: Calibration, operators: Collection[str], keep_float: Collection[str]
) -> None:
    """See that a calibration has every activation that is to be quantised.

    Raises:
        CalibrationError: it lacks one.
    """
    initializers = {tensor.name for tensor in model.graph.initializer}
    needed = {
        name
        for node in model.graph.node
        if node.op_type in operators and node.name not in keep_float
        for name in (*node.input, *node.output)
    }
    missing = sorted(needed - initializers - set(calibration.ranges))
    if missing:
        raise CalibrationError(
            f"the calibration has no range for {len(missing)} of the graph's tensors: {', '.join(missing[:3])}",
            "another PyTorch may name them otherwise: make it again with `python -m builder calibrate`",
        )


def tensors_range(calibration: Calibration, dtype: type[np.floating[Any]] = np.float32) -> Any:
    """A calibration as ONNX Runtime's quantiser takes it."""
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData

    # MinMax here means "these are the bounds", whatever method found them
    values = {name: (dtype(low), dtype(high)) for name, (low, high) in calibration.ranges.items()}
    return TensorsData(CalibrationMethod.MinMax, values)


def quantized_by(quantizer: Any) -> onnx.ModelProto:
    """Run one of ONNX Runtime's quantisers and take its model, nodes in the order that ONNX asks for."""
    with _quiet():
        quantizer.quantize_model()
        quantizer.model.topological_sort()
    model: onnx.ModelProto = quantizer.model.model
    for entry in (model, model.graph):
        entry.ClearField("metadata_props")
    return model


def unquantized(model: onnx.ModelProto, operators: Collection[str], keep_float: Collection[str]) -> list[str]:
    """Say which nodes compute on something else than dequantised tensors, though they should.

    Pooling and ReLU compute nothing that 8 bits change: they follow what is before them.
    """
    dequantized = {name for node in model.graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    return [
        f"{node.op_type} {node.name}: expected quantised inputs, found {', '.join(others)}"
        for node in model.graph.node
        if node.op_type in operators and node.op_type in ("Add", "Conv", "Gemm") and node.name not in keep_float
        if (others := [name for name in node.input[:2] if name not in dequantized])
    ]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the quantiser's advice about preparing a model away from the user: this one is prepared."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
