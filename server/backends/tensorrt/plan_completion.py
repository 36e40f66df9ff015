"""A configuration completed from the engine, as NVIDIA's C++ backend completes it (`src/model_state.cc`, `FixIO`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from configuration import Config, configured_dims
from engine_facts import EngineFacts, EngineTensor
from plan_checks import check_names, profile_number


def complete(config: dict[str, Any], facts: EngineFacts) -> None:
    """Fill in inputs, outputs, their types and shapes, `max_batch_size` and dynamic batching, in place.

    A complete configuration is held against the engine here too: its `max_batch_size` must not exceed the profile's.

    Args:
        config: the model's configuration.
        facts: the engine's.

    Raises:
        ValueError: what is configured contradicts the engine.
    """
    batches = _batches_as_configured(config, facts)
    largest = _largest_batch(config, facts) if batches else 0
    configured = int(config.get("max_batch_size") or 0)
    if configured > largest:
        raise ValueError(f"max_batch_size is {configured}, but the engine's profile takes batches up to {largest}")
    config["max_batch_size"] = configured or largest
    if largest > 1 and not {"sequence_batching", "dynamic_batching"} & set(config):
        config["dynamic_batching"] = {}
    for kind, tensors in (("input", facts.inputs), ("output", facts.outputs)):
        entries = [_entry(tensor, bool(config["max_batch_size"])) for tensor in tensors.values()]
        config[kind] = [_fill(entry, entries) for entry in config.get(kind, [])] or entries


def _batches_as_configured(config: Config, facts: EngineFacts) -> bool:
    """What the configured dims say: one dimension less than the engine's means that the first is the batch."""
    hints = []
    for kind, tensors in (("input", facts.inputs), ("output", facts.outputs)):
        entries = config.get(kind, [])
        check_names(kind, entries, list(tensors))
        shaped = [entry for entry in entries if entry.get("dims") or "reshape" in entry]
        hints += [len(configured_dims(entry)) + 1 == len(tensors[entry["name"]].shape) for entry in shaped]
    if True in hints and not hints[-1]:
        raise ValueError("the configured dims contradict each other: some have a batch dimension and some have not")
    return not hints or any(hints)


def _largest_batch(config: Config, facts: EngineFacts) -> int:
    names = [str(name) for group in config.get("instance_group", []) for name in group.get("profile", [])] or ["0"]
    largest = 0
    for name in names:
        number = profile_number(name)
        if not 0 <= number < len(facts.profiles):
            raise ValueError(
                f"optimization profile {name} is configured, but the engine has 0 to {len(facts.profiles) - 1}"
            )
        largest = max(largest, min((shapes.max[:1] or (0,))[0] for shapes in facts.profiles[number].values()))
    return largest


def _entry(tensor: EngineTensor, batches: bool) -> dict[str, Any]:
    dims = list(tensor.shape[1:] if batches else tensor.shape)
    entry: dict[str, Any] = {"name": tensor.name, "data_type": tensor.data_type, "dims": dims or [1]}
    if not dims:
        entry["reshape"] = {"shape": []}  # Triton has no empty dims
    if not tensor.is_linear:
        entry["is_non_linear_format_io"] = True
    if tensor.is_shape:
        entry["is_shape_tensor"] = True
    return entry


def _fill(configured: dict[str, Any], entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    known = next(entry for entry in entries if entry["name"] == configured["name"])
    if configured.get("data_type", "TYPE_INVALID") == "TYPE_INVALID":
        configured["data_type"] = known["data_type"]
    if not configured.get("dims"):
        configured["dims"] = known["dims"]
        if "reshape" in known:
            configured["reshape"] = known["reshape"]
    return configured
