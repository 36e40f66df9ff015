"""An incomplete configuration, completed from the model as the container's C++ backend completes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from signature import dims_of, triton_type

DEFAULT_MAX_BATCH_SIZE = 4
"""Triton's own default (`--backend-config=default-max-batch-size`), which a Python-based backend is not told."""


def complete(config: dict[str, Any], session: Any) -> None:
    """Fill in inputs, outputs, `max_batch_size` and dynamic batching, in place.

    A model batches when the first dimension of all its inputs and outputs varies.

    Args:
        config: the model's configuration.
        session: its ONNX Runtime session.

    Raises:
        ValueError: `max_batch_size` is more than 0 but the model does not batch, or a tensor is none of Triton's.
    """
    tensors = [*session.get_inputs(), *session.get_outputs()]
    fixed = [tensor for tensor in tensors if dims_of(tensor)[:1] != [-1]]
    if not fixed:
        config["max_batch_size"] = config.get("max_batch_size") or DEFAULT_MAX_BATCH_SIZE
        if config["max_batch_size"] > 1 and not {"sequence_batching", "dynamic_batching"} & set(config):
            config["dynamic_batching"] = {}
    elif config.get("max_batch_size"):
        raise ValueError(
            f"max_batch_size is {config['max_batch_size']}, but the model does not batch: the first dimension of "
            f"'{fixed[0].name}' does not vary (its shape is {dims_of(fixed[0])})"
        )
    batches = bool(config.get("max_batch_size"))
    if not config.get("input") and not config.get("batch_input"):
        config["input"] = _entries("input", session.get_inputs(), batches)
    if not config.get("output"):
        config["output"] = _entries("output", session.get_outputs(), batches)


def _entries(kind: str, tensors: Sequence[Any], batches: bool) -> list[dict[str, Any]]:
    entries = []
    for tensor in sorted(tensors, key=lambda tensor: str(tensor.name)):
        dims = dims_of(tensor)[1:] if batches else dims_of(tensor)
        entry: dict[str, Any] = {"name": tensor.name, "data_type": triton_type(kind, tensor), "dims": dims or [1]}
        if not dims and batches:
            entry["reshape"] = {"shape": []}  # Triton has no empty dims
        entries.append(entry)
    return entries
