"""Do a model and its configuration describe the same tensors? The rules are those of the container's C++ backend.

They stand in triton-inference-server/onnxruntime_backend (`src/onnxruntime.cc`, `ValidateInputs` and
`ValidateOutputs`; `src/onnxruntime_utils.cc`, `CompareDimsSupported`): what is refused there is refused here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from configuration import configured_dims
from sequences import controls

Config = Mapping[str, Any]

ONNX_TYPES = {
    "TYPE_BOOL": "tensor(bool)",
    "TYPE_UINT8": "tensor(uint8)",
    "TYPE_UINT16": "tensor(uint16)",
    "TYPE_UINT32": "tensor(uint32)",
    "TYPE_UINT64": "tensor(uint64)",
    "TYPE_INT8": "tensor(int8)",
    "TYPE_INT16": "tensor(int16)",
    "TYPE_INT32": "tensor(int32)",
    "TYPE_INT64": "tensor(int64)",
    "TYPE_FP16": "tensor(float16)",
    "TYPE_FP32": "tensor(float)",
    "TYPE_FP64": "tensor(double)",
    "TYPE_STRING": "tensor(string)",
}
"""Triton's data types and ONNX Runtime's names for them; BF16, which the C++ backend has since 26.03, numpy has not."""

TRITON_TYPES = {onnx: triton for triton, onnx in ONNX_TYPES.items()}


def dims_of(tensor: Any) -> list[int]:
    """The shape of a model's input or output, -1 where it varies."""
    return [dim if isinstance(dim, int) and dim >= 0 else -1 for dim in tensor.shape]


def triton_type(kind: str, tensor: Any) -> str:
    """The configuration's name for a tensor's data type.

    Raises:
        ValueError: Triton has none: a sequence, a map, or a number format it does not know.
    """
    if tensor.type not in TRITON_TYPES:
        newer = " here; NVIDIA's container does from release 26.03 on" if tensor.type == "tensor(bfloat16)" else ""
        raise ValueError(f"{kind} '{tensor.name}' of the model is {tensor.type}, which Triton cannot carry{newer}")
    return TRITON_TYPES[tensor.type]


def check_signature(config: Config, session: Any) -> None:
    """Check names, data types, dimensions and the batch dimension of every tensor.

    Args:
        config: the model's configuration, as Triton passes it to a Python model.
        session: its ONNX Runtime session.

    Raises:
        ValueError: they disagree; says which tensor, what was expected and what was found.
    """
    inputs = {tensor.name: tensor for tensor in session.get_inputs()}
    replaceable = {tensor.name: tensor for tensor in session.get_overridable_initializers()}
    outputs = {tensor.name: tensor for tensor in session.get_outputs()}
    for kind, tensors in (("input", inputs), ("output", outputs)):
        for tensor in tensors.values():
            triton_type(kind, tensor)
    control_inputs = controls(config)
    for entry in control_inputs:
        if entry["name"] not in inputs:
            raise ValueError(
                f"sequence control '{entry['name']}' is configured, but the model's inputs are: {', '.join(inputs)}"
            )
        _check_tensor("sequence control", entry, inputs[entry["name"]], config["max_batch_size"])
    given = {entry["name"] for entry in control_inputs}
    _check_input_names(config, [name for name in inputs if name not in given], list(replaceable))
    _check_known("output", [entry["name"] for entry in config["output"]], list(outputs))
    for entry in config["input"]:
        _check_tensor("input", entry, (inputs | replaceable)[entry["name"]], config["max_batch_size"])
    for entry in config["output"]:
        _check_tensor("output", entry, outputs[entry["name"]], config["max_batch_size"])


def _check_input_names(config: Config, needed: Sequence[str], replaceable: Sequence[str]) -> None:
    """Every input must be configured; a constant that the model lets its caller replace may be, as optional."""
    names = [entry["name"] for entry in config["input"]]
    _check_known("input", names, [*needed, *replaceable])
    if missing := [name for name in needed if name not in names]:
        raise ValueError(
            f"the configuration names {len(names)} input(s) ({', '.join(names)}), but the model needs {len(needed)}: "
            f"input '{missing[0]}' is missing"
        )
    for entry in config["input"]:
        optional = bool(entry.get("optional"))
        if optional and config["max_batch_size"] > 0:
            raise ValueError(f"input '{entry['name']}' is optional, which needs max_batch_size 0: a batch needs all")
        if optional != (entry["name"] in replaceable):
            found = "is needed by the model" if optional else "is a constant of the model, to be replaced at will"
            raise ValueError(f"input '{entry['name']}' is configured as optional: {str(optional).lower()}, but {found}")


def _check_known(kind: str, configured: Sequence[str], in_model: Sequence[str]) -> None:
    for name in configured:
        if name not in in_model:
            raise ValueError(f"{kind} '{name}' is configured, but the model's {kind}s are: {', '.join(in_model)}")


def _check_tensor(kind: str, entry: Config, tensor: Any, max_batch_size: int) -> None:
    where = f"{kind} '{entry['name']}'"
    if entry["data_type"] not in ONNX_TYPES:
        newer = "; NVIDIA's container serves BF16 from release 26.03 on" if entry["data_type"] == "TYPE_BF16" else ""
        raise ValueError(
            f"{where}: no ONNX model is served with {entry['data_type']} here; the model has {tensor.type}{newer}"
        )
    if ONNX_TYPES[entry["data_type"]] != tensor.type:
        raise ValueError(
            f"{where}: the configuration says {entry['data_type']}, the model has {triton_type(kind, tensor)}"
        )
    dims = configured_dims(entry)
    model = dims_of(tensor)
    if not model:
        if any(dim != 1 for dim in dims):
            raise ValueError(f"{where}: the model has a scalar, so dims must be [1]; the configuration says {dims}")
    else:
        _check_dims(where, dims, model, max_batch_size, exact=kind != "input")


def _check_dims(where: str, dims: list[int], model: list[int], max_batch_size: int, *, exact: bool) -> None:
    """Compare shapes: an input may be configured narrower than a model's -1, others must say what the model says."""
    if max_batch_size > 0 and model[0] != -1:
        raise ValueError(
            f"{where}: max_batch_size is {max_batch_size}, so the model's first dimension must vary, but it is fixed "
            f"to {model[0]} (its shape is {model})"
        )
    expected = [-1, *dims] if max_batch_size > 0 else dims
    fits = len(model) == len(expected) and all(
        there == wanted or (there == -1 and not exact) for wanted, there in zip(expected, model, strict=True)
    )
    if not fits:
        batch = "; the first is the batch, since max_batch_size is more than 0" if max_batch_size > 0 else ""
        raise ValueError(f"{where}: the configuration says {expected}, the model has {model}{batch}")
