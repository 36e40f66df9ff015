"""PyTorch to ONNX: the only module that knows the opset, the IR version and the exporter."""

from __future__ import annotations

import copy
import io
import logging
import warnings
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING

import onnx
import torch

from builder.errors import BuilderError
from builder.network.resnet import Classifier, fold_batch_norm
from builder.signature import SIGNATURE, BatchSizes, Signature
from builder.variants import Precision

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

OPSET = 18
"""The opset the exporter writes natively; ONNX Runtime 1.19 (Triton 24.10) reads up to 21, TensorRT 10.0 up to 20."""

IR_VERSION = 10
"""The highest file format that ONNX Runtime 1.19 to 1.22 (Triton 24.10 to 25.07) reads."""


def export(
    classifier: Classifier,
    batch_sizes: BatchSizes,
    precision: Precision = Precision.FP32,
    signature: Signature = SIGNATURE,
) -> bytes:
    """Export the network with BatchNorm folded, a dynamic batch dimension and its weights inside.

    An FP16 graph casts the UINT8 pixels to FP16, normalises and computes in FP16, and casts the logits to FP32: the
    precision is in the graph, where a strongly typed TensorRT network (all that TensorRT 11 has) must find it.

    Args:
        classifier: left as it is; a copy is folded and exported.
        batch_sizes: bounds of the batch dimension.
        precision: of weights and activations.
        signature: names, types and shapes that the graph must have.

    Returns:
        A serialised ONNX model that `onnx.checker` accepts.

    Raises:
        BuilderError: the exporter made something else than was signed.
    """
    folded = fold_batch_norm(copy.deepcopy(classifier).cpu())
    if precision is Precision.FP16:
        folded = folded.half()
    # two images, because the exporter takes a dimension of 0 or 1 for a constant
    example = torch.zeros((2, *signature.input.dims), dtype=torch.uint8)
    batch = torch.export.Dim("batch", min=batch_sizes.min, max=batch_sizes.max)
    with _quiet():
        program = torch.onnx.export(
            folded,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[signature.input.name],
            output_names=[signature.output.name],
            dynamic_shapes={"images": {0: batch}},
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise BuilderError("torch.onnx.export returned no program")
    model = program.model_proto
    model.ir_version = min(model.ir_version, IR_VERSION)
    _strip_exporter_leftovers(model)
    problems = check(model, precision, signature)
    if problems:
        raise BuilderError(f"the exported ONNX model is not as signed: {'; '.join(problems)}")
    return model.SerializeToString(deterministic=True)


def check(model: onnx.ModelProto, precision: Precision = Precision.FP32, signature: Signature = SIGNATURE) -> list[str]:
    """Say in what an exported model differs from what Triton's engines can serve; an empty list is good.

    Looks at all that `served_problems` does, and at weights in another precision.
    """
    return served_problems(model, signature) + _wrong_weights(model, precision)


def served_problems(model: onnx.ModelProto, signature: Signature = SIGNATURE, opset: int = OPSET) -> list[str]:
    """Say in what a model of any precision differs from what Triton's engines can serve; an empty list is good.

    Looks at `onnx.checker`'s full check, IR version, opset, weights outside the file, unfolded BatchNorm, and the
    names, types and shapes of inputs and outputs.
    """
    problems = []
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        problems.append(f"onnx.checker: {error}")
    if model.ir_version > IR_VERSION:
        problems.append(f"IR version: expected at most {IR_VERSION}, found {model.ir_version}")
    found_opset = {entry.domain: entry.version for entry in model.opset_import}.get("", 0)
    if found_opset != opset:
        problems.append(f"opset: expected {opset}, found {found_opset}")
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer):
        problems.append("weights: expected inside the file, found external data")
    if any(node.op_type == "BatchNormalization" for node in model.graph.node):
        problems.append("BatchNorm: expected folded, found a BatchNormalization node")
    for tensor, values in ((signature.input, model.graph.input), (signature.output, model.graph.output)):
        expected = (tensor.name, tensor.dtype.removeprefix("TYPE_"), ("batch", *tensor.dims))
        found = [_described(value) for value in values]
        if found != [expected]:
            problems.append(f"tensor: expected {expected}, found {found}")
    return problems


def _wrong_weights(model: onnx.ModelProto, precision: Precision) -> list[str]:
    """Convolutions and matrix products whose weights are not in `precision`; ONNX binds their other tensors to it."""
    expected = onnx.TensorProto.FLOAT16 if precision is Precision.FP16 else onnx.TensorProto.FLOAT
    dtypes = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    name_of = onnx.TensorProto.DataType.Name
    return [
        f"{node.op_type} {node.name}: expected {name_of(expected)} weights, found {name_of(dtypes[node.input[1]])}"
        for node in model.graph.node
        if node.op_type in ("Conv", "Gemm", "MatMul") and dtypes[node.input[1]] != expected
    ]


def _described(value: onnx.ValueInfoProto) -> tuple[str, str, tuple[str | int, ...]]:
    element = onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type)
    shape = tuple(dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim)
    return value.name, {"FLOAT": "FP32", "FLOAT16": "FP16"}.get(element, element), shape


def _strip_exporter_leftovers(model: onnx.ModelProto) -> None:
    """Drop what the exporter leaves beside the graph itself.

    Stack traces and source paths name this machine and make equal exports differ. Entries of `value_info` that describe
    initializers say what the initializers say; tools that change a weight's shape (ONNX Runtime's `quantize_dynamic`)
    then fail on the old one.
    """
    initializers = {tensor.name for tensor in model.graph.initializer}
    described = [value for value in model.graph.value_info if value.name not in initializers]
    del model.graph.value_info[:]
    model.graph.value_info.extend(described)
    entries: Sequence[object] = (
        model,
        model.graph,
        *model.graph.node,
        *model.graph.input,
        *model.graph.output,
        *model.graph.value_info,
        *model.graph.initializer,
    )
    for entry in entries:
        entry.ClearField("metadata_props")  # type: ignore[attr-defined]
        entry.ClearField("doc_string")  # type: ignore[attr-defined]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's prints and its dependencies' warnings away from the user."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
