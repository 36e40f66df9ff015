"""What a model's configuration says about how it is served, in a few figures and in one line.

The builder reads it from a file, the client from the server's answer: both as Triton's JSON, whose names are those of
config.pbtxt.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BYTE_ORDER_MARK = "\ufeff"
"""With which some editors begin a file; Triton's reader takes it for a part of the first field's name."""


def without_mark(path: Path) -> str:
    """What takes a byte-order mark off a configuration, whoever wrote it."""
    return rf"save it as UTF-8 without one: sed -i '1s/^\xef\xbb\xbf//' {shlex.quote(str(path))}"


def summary(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a configuration that decides about speed.

    Args:
        config: `inference.ModelConfig` as JSON with its own field names; what is missing has its default.

    Returns:
        `instances`: kind without "KIND_" -> how many, over all GPUs that the configuration names;
        `dynamic_batching`: whether requests that wait run together; `preferred_batch_sizes`, `max_queue_delay_us`: of
        the dynamic batching; `warm_up`: batch sizes that run before the model is ready; `cuda_graphs`: whether the
        configuration asks for them.
    """
    batching = config.get("dynamic_batching")
    instances: dict[str, int] = {}
    for group in config.get("instance_group", []):
        kind = str(group.get("kind", "KIND_AUTO")).removeprefix("KIND_")
        count = int(group.get("count", 1)) * max(len(group.get("gpus", [])), 1)
        instances[kind] = instances.get(kind, 0) + count
    return {
        "instances": instances,
        "dynamic_batching": batching is not None,
        "preferred_batch_sizes": [int(size) for size in (batching or {}).get("preferred_batch_size", [])],
        "max_queue_delay_us": int((batching or {}).get("max_queue_delay_microseconds", 0)),
        "warm_up": sorted(int(entry.get("batch_size", 0)) for entry in config.get("model_warmup", [])),
        "cuda_graphs": bool(config.get("optimization", {}).get("cuda", {}).get("graphs", False)),
    }


def sentence(found: Mapping[str, Any]) -> str:
    """A `summary` in one line."""
    parts = [" and ".join(f"{count} x {kind}" for kind, count in found["instances"].items()) or "1 instance"]
    details = (
        [f"preferred {', '.join(map(str, found['preferred_batch_sizes']))}"] if found["preferred_batch_sizes"] else []
    )
    details += [f"delay {found['max_queue_delay_us']} us"] if found["max_queue_delay_us"] else []
    batching = "dynamic batching" if found["dynamic_batching"] else "no dynamic batching"
    parts.append(f"{batching} ({', '.join(details)})" if details else batching)
    parts.append(f"{len(found['warm_up']) or 'no'} warm-up{'' if len(found['warm_up']) == 1 else 's'}")
    parts += ["CUDA graphs"] if found["cuda_graphs"] else []
    return ", ".join(parts)
