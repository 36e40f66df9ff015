"""Is an engine what was asked for? Its precision, its tensors and its profile are shown, not hoped for.

An engine that runs in FP32 although FP16 was meant answers correctly and half as fast, and says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from builder.tensorrt.engine_inspector import Inspection, Layer
from builder.variants import Precision

if TYPE_CHECKING:
    from builder.signature import BatchSizes, Signature
    from builder.tensorrt.engine import EngineTensor

_COMPUTED = {"FP32", "FP16", "BF16", "FP8", "FP4", "INT8"}
_INSPECTED = {
    Precision.FP32: "FP32",
    Precision.TF32: "FP32",
    Precision.FP16: "FP16",
    Precision.INT8: "INT8",
    Precision.FP8: "FP8",
}
_DTYPES = {"TYPE_UINT8": "UINT8", "TYPE_FP16": "HALF", "TYPE_FP32": "FLOAT"}


def convolution_names(onnx: bytes) -> tuple[str, ...]:
    """The convolutions of an ONNX model, by node name; of a quantised one those that are to run on 8 bits."""
    from onnx import load_from_string

    nodes = load_from_string(onnx).graph.node
    dequantized = {name for node in nodes if node.op_type == "DequantizeLinear" for name in node.output}
    return tuple(
        node.name for node in nodes if node.op_type == "Conv" and (not dequantized or node.input[0] in dequantized)
    )


def tensor_problems(tensors: Sequence[EngineTensor], signature: Signature, batch_sizes: BatchSizes) -> list[str]:
    """In what an engine's inputs, outputs and profile differ from what was signed; an empty list is good."""
    shapes = tuple((size, *signature.input.dims) for size in (batch_sizes.min, batch_sizes.opt, batch_sizes.max))
    expected = {
        (tensor.name, is_input, _DTYPES[tensor.dtype], (-1, *tensor.dims), profile)
        for tensor, is_input, profile in ((signature.input, True, shapes), (signature.output, False, ()))
    }
    found = {(tensor.name, tensor.is_input, tensor.dtype, tensor.shape, tensor.profile) for tensor in tensors}
    if found == expected:
        return []
    return [f"tensors: expected {_listed(expected - found)}, found {_listed(found - expected)}"]


def _listed(tensors: set[tuple[str, bool, str, tuple[int, ...], tuple[tuple[int, ...], ...]]]) -> str:
    return ", ".join(
        f"{'input' if is_input else 'output'} '{name}' {dtype} {list(shape)}"
        + (f" with the profile {' / '.join(str(list(bound)) for bound in profile)}" if profile else "")
        for name, is_input, dtype, shape, profile in sorted(tensors)
    ) or "none"  # fmt: skip


def precision_problems(inspection: Inspection, convolutions: Sequence[str], precision: Precision) -> list[str]:
    """Which convolutions an engine computes in another precision, or cannot be shown to compute in this one.

    Args:
        inspection: of the engine.
        convolutions: the network's, by ONNX node name.
        precision: that was asked for. Around 8 bits there is FP16 too: what comes out of a kernel, and the layers that
            are not quantised.
    """
    expected = _INSPECTED[precision]
    problems, shown, layers = [], set(), 0
    for layer in inspection.layers:
        nodes = {name for name in convolutions if _holds(layer, name)}
        counts = nodes or (_is_convolution(layer) and not precision.quantized)
        if layer.moves_data_only or not counts:
            continue
        found = _precisions(layer, inspection.io_names)
        if (expected not in found) if precision.quantized else (found - {expected}):
            problems.append(
                f"{layer.kind} {layer.name}: expected {expected}, found {', '.join(sorted(found)) or 'none'}"
            )
        elif found:
            shown |= nodes
            layers += 1
    missing = set(convolutions) - shown
    if not problems and missing and layers < len(convolutions):
        problems.append(
            f"only {max(len(shown), layers)} of {len(convolutions)} convolutions are shown in {expected}; "
            f"not {', '.join(sorted(missing)[:3])}, … (layers by precision: {inspection.layers_by_precision()})"
        )
    return problems


def _holds(layer: Layer, node: str) -> bool:
    """Whether an ONNX node is fused into a layer: TensorRT says so in its metadata, or joins node names with "+"."""
    return node in layer.nodes or node in re.split(r"\s*(?:\+|\|\|)\s*|[\s{}\[\],]+", layer.name)


def _is_convolution(layer: Layer) -> bool:
    return layer.operation == "Convolution" or "convolution" in layer.kind.lower() or layer.kind.lower() == "conv"


def _precisions(layer: Layer, io_names: Sequence[str]) -> set[str]:
    """The precisions inside a layer; the network's own inputs and outputs have their signed types."""
    inside = {tensor.precision for tensor in layer.tensors if tensor.name not in io_names} | {layer.weights}
    return inside & _COMPUTED
