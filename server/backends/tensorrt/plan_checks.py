"""Is a plan served as it is configured? Decided as NVIDIA's C++ backend decides, from the engine's description alone.

The order and the rules are those of triton-inference-server/tensorrt_backend: `src/instance_state.cc` (`ValidateIO`,
`InitializeExecuteInputBinding`, `InitOptimizationProfiles`), `src/model_state.cc` (`ParseParameters`) and
`src/tensorrt_utils.cc` (`CompareDimsSupported`). What would change answers is refused; what changes only speed passes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from configuration import Config, check_served, configured_dims, cuda_settings, text
from engine_facts import EngineFacts, EngineTensor, Profile

KNOWN_TYPES = frozenset(
    ("TYPE_FP32", "TYPE_FP16", "TYPE_INT8", "TYPE_UINT8", "TYPE_BF16", "TYPE_INT32", "TYPE_INT64", "TYPE_BOOL")
)
"""What both TensorRT and Triton have."""

CARRIED_TYPES = KNOWN_TYPES - {"TYPE_BF16"}
"""What Triton's Python backend carries beside: numpy has no BF16."""

_STRATEGIES = ("STATIC", "ON_PROFILE_CHANGE")
_INTEGER = re.compile(r"\s*([+-]?\d+)")  # what C++'s stoi reads: digits in front, whatever follows


def check_before_loading(config: Config, kind: str, instance_name: str) -> None:
    """Check what can be said before the plan is read.

    Args:
        config: the model's.
        kind: of the instance: GPU, CPU or MODEL.
        instance_name: Triton's.

    Raises:
        ValueError: the configuration is refused; says what was expected and what was found.
    """
    _check_parameters(config)
    check_served(config, ragged=True)
    if kind != "GPU":
        raise ValueError(f"TensorRT runs on a GPU only: expected KIND_GPU (or KIND_AUTO), found KIND_{kind}")
    for device in _group(config, instance_name).get("secondary_devices", []):
        if device.get("kind", "KIND_NVDLA") == "KIND_NVDLA":
            raise ValueError("secondary device KIND_NVDLA is configured, but this backend has no DLA core")


def profile_numbers(config: Config, instance_name: str, facts: EngineFacts) -> list[int]:
    """The optimization profiles that the instance's group names; the first where it names none.

    Raises:
        ValueError: one is no number or the engine has none of that number.
    """
    names = [str(name) for name in _group(config, instance_name).get("profile", [])] or ["0"]
    numbers = []
    for name in names:
        number = profile_number(name)
        if not 0 <= number < len(facts.profiles):
            raise ValueError(
                f"optimization profile {name} is configured, but the engine has 0 to {len(facts.profiles) - 1}"
            )
        numbers.append(number)
    return list(dict.fromkeys(numbers))


def profile_number(name: str) -> int:
    """Read a profile's name, which is its number.

    Raises:
        ValueError: it is none.
    """
    found = _INTEGER.match(name)
    if found is None:
        raise ValueError(f"optimization profile: expected a number, found '{name}'")
    return int(found[1])


def check_tensors(config: Config, facts: EngineFacts, profiles: Sequence[Profile]) -> None:
    """Do configuration and engine describe the same tensors?

    Args:
        config: the model's.
        facts: the engine's.
        profiles: those in use.

    Raises:
        ValueError: they do not; says which tensor, what was expected and what was found.
    """
    inputs, outputs = config.get("input", []), config.get("output", [])
    if len(inputs) > len(facts.inputs):
        raise ValueError(f"the configuration has {len(inputs)} inputs, but the engine has {len(facts.inputs)}")
    for kind, entries, known in (("input", inputs, facts.inputs), ("output", outputs, facts.outputs)):
        check_names(kind, entries, list(known))
    for kind, entries, known in (("input", inputs, facts.inputs), ("output", outputs, facts.outputs)):
        for entry in entries:
            _check_marks(kind, entry, known[entry["name"]])
    for entry in inputs:
        _check_input(entry, facts.inputs[entry["name"]], config["max_batch_size"], profiles)
    _check_all_configured("input", inputs, list(facts.inputs))
    for entry in outputs:
        tensor = facts.outputs[entry["name"]]
        _check_type("output", entry, tensor)
        _check_dims(f"output '{tensor.name}'", configured_dims(entry), tensor, config["max_batch_size"])
    _check_all_configured("output", outputs, list(facts.outputs))


def check_names(kind: str, entries: Sequence[Config], known: Sequence[str]) -> None:
    """Is every configured tensor one of the engine's?

    Raises:
        ValueError: one is not.
    """
    for entry in entries:
        if entry["name"] not in known:
            raise ValueError(
                f"{kind} '{entry['name']}' is configured, but the engine's {kind}s are: {', '.join(known)}"
            )


def without_effect(config: Config) -> list[str]:
    """Settings that pass and change nothing here, for the log."""
    optimization, cuda = config.get("optimization", {}), cuda_settings(config)
    found = [name for name in ("eager_batching", "gather_kernel_buffer_threshold") if optimization.get(name)]
    found += [name for name in ("busy_wait_events", "output_copy_stream") if cuda.get(name)]
    return found + (["execution_context_allocation_strategy"] if text(config, _STRATEGY) == _STRATEGIES[1] else [])


_STRATEGY = "execution_context_allocation_strategy"


def _check_parameters(config: Config) -> None:
    strategy = text(config, _STRATEGY)
    if strategy is not None and strategy not in _STRATEGIES:
        raise ValueError(f"parameter {_STRATEGY}: expected {' or '.join(_STRATEGIES)}, found '{strategy}'")
    if (text(config, "enable_multi_device") or "").lower() in ("true", "1"):
        if text(config, "multi_device_gpus") is None:
            raise ValueError("parameter enable_multi_device needs the parameter multi_device_gpus, which is missing")
        raise ValueError("parameter enable_multi_device: this backend runs an instance on one GPU; leave it out")


def _group(config: Config, instance_name: str) -> Config:
    """The instance group that Triton named an instance after: GROUP_NUMBER, and GROUP is MODEL_NUMBER unless named."""
    groups: Sequence[Config] = config.get("instance_group", [])
    wanted = instance_name.rpartition("_")[0]
    for number, group in enumerate(groups):
        if wanted in (group.get("name"), f"{config.get('name')}_{number}"):
            return group
    return groups[0] if groups else {}


def _check_marks(kind: str, entry: Config, tensor: EngineTensor) -> None:
    """`ValidateIOHelper`."""
    where = f"{kind} '{tensor.name}'"
    if entry["data_type"] not in KNOWN_TYPES:
        raise ValueError(f"{where}: TensorRT has no {entry['data_type']}; the engine has {tensor.data_type}")
    if bool(entry.get("is_shape_tensor")) != tensor.is_shape:
        raise ValueError(f"{where}: is_shape_tensor must be {str(tensor.is_shape).lower()}, as it is in the engine")
    if bool(entry.get("is_non_linear_format_io")) == tensor.is_linear:
        found = "a linear" if tensor.is_linear else "a non-linear"
        raise ValueError(
            f"{where}: the engine uses {found} format, so is_non_linear_format_io must be "
            f"{str(not tensor.is_linear).lower()}"
        )
    if tensor.is_shape or not tensor.is_linear:
        raise ValueError(
            f"{where}: this backend has no shape tensors and no non-linear formats; NVIDIA's container does"
        )


def _check_input(entry: Config, tensor: EngineTensor, max_batch_size: int, profiles: Sequence[Profile]) -> None:
    where, dims = f"input '{tensor.name}'", configured_dims(entry)
    _check_type("input", entry, tensor)
    if entry.get("allow_ragged_batch"):
        raise ValueError(
            f"{where}: for allow_ragged_batch the engine's input must have the one dimension {dims}, but it has "
            f"{list(tensor.shape)}; and this backend has no ragged batches"
        )
    _check_dims(where, dims, tensor, max_batch_size)
    for profile in profiles:
        shapes = profile[tensor.name]
        full = (shapes.opt[0], *dims) if max_batch_size > 0 else dims
        fixed = tuple(opt if dim < 0 else dim for dim, opt in zip(full, shapes.opt, strict=True))
        if wrong := shapes.violation(fixed):
            raise ValueError(f"{where}: dims {dims} lie outside the optimization profile: {wrong}")


def _check_type(kind: str, entry: Config, tensor: EngineTensor) -> None:
    if entry["data_type"] != tensor.data_type:
        raise ValueError(
            f"{kind} '{tensor.name}': the configuration says {entry['data_type']}, the engine has {tensor.data_type}"
        )
    if tensor.data_type not in CARRIED_TYPES:
        raise ValueError(f"{kind} '{tensor.name}' is {tensor.data_type}, which a Python-based backend cannot carry")


def _check_dims(where: str, dims: list[int], tensor: EngineTensor, max_batch_size: int) -> None:
    """`CompareDimsSupported`: a -1 on either side fits anything."""
    expected = [-1, *dims] if max_batch_size > 0 else dims
    fits = len(expected) == len(tensor.shape) and all(
        wanted == there or -1 in (wanted, there) for wanted, there in zip(expected, tensor.shape, strict=True)
    )
    if not fits:
        batch = "; the first is the batch, since max_batch_size is more than 0" if max_batch_size > 0 else ""
        raise ValueError(f"{where}: the configuration says {expected}, the engine has {list(tensor.shape)}{batch}")


def _check_all_configured(kind: str, entries: Sequence[Any], known: Sequence[str]) -> None:
    names = [entry["name"] for entry in entries]
    if missing := [name for name in known if name not in names]:
        raise ValueError(f"the engine has {kind} '{missing[0]}', which the configuration does not name")
