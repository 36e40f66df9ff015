"""A model's configuration: read from its file as Triton reads it, and what it says in a few figures and in one line.

The builder's `inspect` and the launcher read files here, the client has the server's answer: for the summary both are
Triton's JSON, whose names are those of config.pbtxt.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.errors import UserError
from console.protobuf_text import for_python

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""With which some editors begin a file; Triton's reader takes it for a part of the first field's name."""

_REWRITE = "correct it, or build the model again: make build-repo"


class ConfigurationError(UserError):
    """A file is no configuration that Triton reads; the hint says what to do."""


def read(path: Path) -> ModelConfig:
    """Read a configuration's file as Triton 2.51.0 does; where there is none, an empty configuration.

    Raises:
        ConfigurationError: it is not a model configuration, or cannot be read.
    """
    if not path.exists():
        return parse(b"")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}", "let this user read it") from None
    if content.startswith(_BYTE_ORDER_MARK):
        raise ConfigurationError(
            f"{path} begins with a byte-order mark, which Triton does not read",
            rf"save it as UTF-8 without one: sed -i '1s/^\xef\xbb\xbf//' {shlex.quote(str(path))}",
        )
    try:
        return parse(content)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path} is not a Triton model configuration: {error}", error.hint) from None


def parse(content: bytes | str) -> ModelConfig:
    """A configuration from its file's content.

    Raises:
        ConfigurationError: it is none; says where, counted from 1, and what.
    """
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    written = content.encode() if isinstance(content, str) else content
    try:
        return text_format.Parse(for_python(written), model_config_pb2.ModelConfig())
    except (text_format.ParseError, ValueError) as error:
        raise ConfigurationError(str(error), _REWRITE) from None


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
