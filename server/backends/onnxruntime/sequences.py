"""Sequence batching: the control tensors that Triton's sequence batcher adds to every request.

For the model they are inputs like others. What they must be is what the container's C++ backend demands
(`src/onnxruntime.cc`, `ValidateBooleanSequenceControl` and `ValidateTypedSequenceControl`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Config = Mapping[str, Any]

_KINDS = ("CONTROL_SEQUENCE_START", "CONTROL_SEQUENCE_END", "CONTROL_SEQUENCE_READY", "CONTROL_SEQUENCE_CORRID")
_TYPES = {"int32_false_true": "TYPE_INT32", "fp32_false_true": "TYPE_FP32", "bool_false_true": "TYPE_BOOL"}


def controls(config: Config) -> list[dict[str, Any]]:
    """The control tensors, described as a configuration describes inputs: name, data type and dims [1]."""
    return [
        {"name": entry["name"], "data_type": _data_type(control), "dims": [1]}
        for entry in config.get("sequence_batching", {}).get("control_input", [])
        for control in entry.get("control", [])
        if control.get("kind", _KINDS[0]) in _KINDS
    ]


def _data_type(control: Config) -> str:
    given = (data_type for field, data_type in _TYPES.items() if control.get(field))
    return next(given, str(control.get("data_type", "")))
