"""What every backend here reads from a model's configuration, which Triton passes to a Python model as JSON."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from files import name_of, path_of

Config = Mapping[str, Any]

_UNSERVED = ("batch_input", "batch_output")
_BOOLEANS = {"true": True, "on": True, "1": True, "false": False, "off": False, "0": False}


def text(config: Config, name: str) -> str | None:
    """An entry of the configuration's `parameters`; None where it has none."""
    value = config.get("parameters", {}).get(name, {}).get("string_value")
    return None if value is None else str(value)


def boolean(name: str, value: str) -> bool:
    """Read true, on, 1, false, off or 0, in any case.

    Raises:
        ValueError: it is none of them.
    """
    if value.lower() not in _BOOLEANS:
        raise ValueError(f"parameter {name}: expected true, on, 1, false, off or 0, found '{value}'")
    return _BOOLEANS[value.lower()]


def cuda_settings(config: Config) -> Config:
    """`optimization.cuda`; empty where there is none."""
    found: Config = config.get("optimization", {}).get("cuda", {})
    return found


def configured_dims(entry: Config) -> list[int]:
    """The shape that a configuration promises the model: `reshape` where it has one, else `dims`."""
    return [int(dim) for dim in (entry["reshape"].get("shape", []) if "reshape" in entry else entry["dims"])]


def is_complete(config: Config) -> bool:
    """Whether inputs and outputs are configured; then nothing else is completed either."""
    return bool((config.get("input") or config.get("batch_input")) and config.get("output"))


def prepared_sizes(config: Config) -> list[int]:
    """The batch sizes to pad to on a GPU: those a configuration warms up, prefers or wants graphs of, and its maximum.

    A configuration that names none but the maximum (which Triton itself writes as the size preferred) gets powers of
    two: to pad every batch to the maximum would cost more than it saves. A single warm-up of batch 1 has the model
    loaded, and says nothing of the sizes to come.
    """
    warmed = {int(entry.get("batch_size", 1)) for entry in config.get("model_warmup", [])}
    specified = cuda_settings(config).get("graph_spec", [])
    sizes = {int(entry.get("batch_size", 0)) for entry in specified} | (warmed if warmed != {1} else set())
    sizes |= {int(size) for size in config.get("dynamic_batching", {}).get("preferred_batch_size", [])}
    largest = int(config["max_batch_size"])
    named = {size for size in sizes if 0 < size != largest}
    return sorted((named or {1 << power for power in range(largest.bit_length())}) | {largest})


def check_served(config: Config, *, ragged: bool = False, sequences: bool = False) -> None:
    """Refuse what Triton gives C++ backends only; served without it, the model would answer something else.

    Args:
        config: the model's.
        ragged: whoever asks has a word of its own for `allow_ragged_batch`.
        sequences: whoever asks serves sequence batching, all but Triton's implicit state.

    Raises:
        ValueError: the configuration uses it.
    """
    unserved = [name for name in _UNSERVED if config.get(name)]
    if not ragged:
        unserved += ["allow_ragged_batch" for entry in config.get("input", []) if entry.get("allow_ragged_batch")]
    if not sequences:
        unserved += ["sequence_batching"] if "sequence_batching" in config else []
    unserved += ["sequence_batching.state"] if config.get("sequence_batching", {}).get("state") else []
    unserved += ["decoupled: true"] if config.get("model_transaction_policy", {}).get("decoupled") else []
    if unserved:
        raise ValueError(
            f"the configuration uses {unserved[0]}, which this backend does not have; NVIDIA's container does"
        )


def model_file(directory: Path, version: str, config: Config, default: str) -> Path:
    """Where a version's model lies; a directory of the configured name holds one of the default name.

    Raises:
        ValueError: there is none.
    """
    path: Path = directory / version / path_of(config.get("default_model_filename") or default)
    path = path / default if path.is_dir() else path
    if not path.is_file():
        raise ValueError(f"there is no {name_of(Path(path.name))} in {name_of(path.parent.resolve())}")
    return path


def file_of_this_process() -> Path:
    """The model's file: Triton's process for Python models gets it as its first argument, and its model never."""
    return Path(os.fsdecode(Path("/proc/self/cmdline").read_bytes().split(b"\0")[1]))
