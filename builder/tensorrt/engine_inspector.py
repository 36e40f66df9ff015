"""What an engine is, as TensorRT's engine inspector tells it, in the JSON of TensorRT 10 or of 11.

TensorRT 10: `"Bindings": [name, …]`, and a layer's tensor has "Format/Datatype": "Half" or "Channel major FP16 …".
TensorRT 11: `"I/O Tensors": [{"Name": …}, …]`, and the two are apart: "Format": …, "DataType": "Half".
Sources: TensorRT 11 documentation, "Migrating IEngineInspector Usage from TensorRT 10.x to 11.x"; the inspector outputs
that come with NVIDIA/TensorRT, tools/experimental/trt-engine-explorer.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from builder.errors import PlanError

UNKNOWN = "unknown"

# The first that fits: BF16 before FP16, UINT8 before INT8.
_PRECISIONS = (
    ("BF16", r"bf16|bfloat"),
    ("FP16", r"half|fp16|float16"),
    ("FP8", r"fp8"),
    ("FP4", r"fp4"),
    ("FP32", r"float|fp32"),
    ("UINT8", r"uint8"),
    ("INT8", r"int8"),
    ("INT32", r"int32"),
    ("INT64", r"int64"),
    ("BOOL", r"bool"),
)


@dataclass(frozen=True)
class LayerTensor:
    """An input or output of a layer: its name and its precision, "FP16" for instance, or UNKNOWN."""

    name: str
    precision: str


@dataclass(frozen=True)
class Layer:
    """One step of an engine; several ONNX nodes may be fused into it.

    Attributes:
        name: TensorRT's.
        kind: TensorRT's name for what executes it, as in "CaskConvolution".
        operation: what it computes ("Convolution"), where TensorRT says so.
        nodes: ONNX nodes it holds, where TensorRT says so.
        tensors: inputs and outputs.
        weights: their precision; UNKNOWN where TensorRT does not say.
    """

    name: str
    kind: str
    operation: str
    nodes: tuple[str, ...]
    tensors: tuple[LayerTensor, ...]
    weights: str

    @property
    def moves_data_only(self) -> bool:
        """Whether it changes layout or type, and computes nothing."""
        return self.kind.lower() in ("reformat", "noop", "signal", "wait")


@dataclass(frozen=True)
class Inspection:
    """All layers of an engine, and the names of its inputs and outputs."""

    io_names: tuple[str, ...]
    layers: tuple[Layer, ...]

    def layers_by_precision(self) -> dict[str, int]:
        """How many layers handle which precisions: {"FP16": 20, "FP16+FP32": 1}."""
        kinds = ("+".join(sorted({tensor.precision for tensor in layer.tensors})) for layer in self.layers)
        return dict(sorted(Counter(kind or UNKNOWN for kind in kinds).items()))


def parse_inspection(text: str) -> Inspection:
    """Read the inspector's JSON, of TensorRT 10 or 11.

    Raises:
        PlanError: it is not such JSON, so the engine cannot be shown to be what was asked for.
    """
    try:
        content = json.loads(text)
        names = [_name(entry) for entry in content.get("I/O Tensors", content.get("Bindings", []))]
        layers = tuple(_layer(entry) for entry in content["Layers"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PlanError(f"the engine inspector's answer cannot be read ({error!r}): {text[:200]!r}") from None
    return Inspection(tuple(names), layers)


def _name(entry: str | Mapping[str, Any]) -> str:
    # TensorRT 10 adds " [profile 1]" to the names of further profiles.
    name: str = entry if isinstance(entry, str) else entry["Name"]
    return name.partition(" [profile")[0]


def _layer(entry: str | Mapping[str, Any]) -> Layer:
    if isinstance(entry, str):  # an engine built without detailed verbosity has names only
        return Layer(entry, "", "", (), (), UNKNOWN)
    tensors: Sequence[Mapping[str, Any]] = [*entry.get("Inputs", ()), *entry.get("Outputs", ())]
    weights = entry.get("Weights")
    return Layer(
        name=entry["Name"],
        kind=entry.get("LayerType", ""),
        operation=entry.get("ParameterType", ""),
        nodes=tuple(re.findall(r"\[ONNX Layer: ([^\]]*)\]", entry.get("Metadata", ""))),
        tensors=tuple(LayerTensor(tensor["Name"], _precision(tensor)) for tensor in tensors),
        weights=precision_of(weights["Type"]) if isinstance(weights, Mapping) and "Type" in weights else UNKNOWN,
    )


def _precision(tensor: Mapping[str, Any]) -> str:
    by_key = {key.lower(): str(value) for key, value in tensor.items()}
    found = (precision_of(by_key.get(key, "")) for key in ("datatype", "format/datatype", "format"))
    return next((precision for precision in found if precision != UNKNOWN), UNKNOWN)


def precision_of(text: str) -> str:
    """The precision that one of the inspector's texts names: "FP16" for "Half"; UNKNOWN where it names none."""
    return next((name for name, pattern in _PRECISIONS if re.search(pattern, text, re.IGNORECASE)), UNKNOWN)
