"""Which CUDA graphs a configuration asks for, by the rules of NVIDIA's C++ backend.

`src/instance_state.cc` of triton-inference-server/tensorrt_backend: `InitializeGraphSpecs`, `ValidateGraphSpec`,
`SetCudaGraphShape`. A bad specification ends the load there and here; one whose shape the engine cannot take only means
that its graph is not captured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from configuration import Config, cuda_settings
from engine_facts import EngineFacts, Shape

_DEFAULT_SIZES = (1, 2, 3, 4, 6, 8, 12, 16)


@dataclass(frozen=True)
class GraphSpec:
    """One graph to capture.

    Attributes:
        batch_size: 0 for a model that does not batch.
        shapes: input name -> shape without the batch; empty for what the engine is tuned for.
        lower_batch_size: the smallest batch that may be answered with it.
        lower_shapes: input name -> the smallest shape that may be.
    """

    batch_size: int
    shapes: Mapping[str, Shape]
    lower_batch_size: int
    lower_shapes: Mapping[str, Shape]


def graph_specs(config: Config) -> list[GraphSpec]:
    """What the configuration asks for; nothing where `optimization.cuda.graphs` is not true.

    Raises:
        ValueError: a specification contradicts itself or `max_batch_size`.
    """
    cuda, limit = cuda_settings(config), int(config["max_batch_size"])
    if not cuda.get("graphs"):
        return []
    specs = [_read(entry) for entry in cuda.get("graph_spec", [])] or [
        GraphSpec(size, {}, size, {}) for size in _default_sizes(config, limit)
    ]
    for spec in specs:
        _check_sizes(spec, limit)
        for name, shape in spec.shapes.items():
            _check_lower_bound(name, shape, spec.lower_shapes)
    return specs


def graph_shapes(spec: GraphSpec, facts: EngineFacts, profile: int) -> dict[str, Shape]:
    """The shapes to capture a graph with.

    Raises:
        ValueError: the engine cannot take them; the model is served without this graph.
    """
    shapes = {}
    for name in facts.inputs:
        covered = facts.profiles[profile][name]
        if not spec.shapes:
            shape = (spec.batch_size, *covered.opt[1:]) if spec.batch_size else covered.opt
        elif name not in spec.shapes:
            raise ValueError(f"no graph for batch {spec.batch_size}: graph_spec names no input '{name}'")
        else:
            shape = (spec.batch_size, *spec.shapes[name]) if spec.batch_size else spec.shapes[name]
        if wrong := covered.violation(shape):
            raise ValueError(f"no graph for batch {spec.batch_size}: input '{name}': {wrong}")
        shapes[name] = shape
    return shapes


def _default_sizes(config: Config, limit: int) -> list[int]:
    if limit == 0:
        return [0]
    if "dynamic_batching" in config:
        preferred = config["dynamic_batching"].get("preferred_batch_size", [])
        sizes = {1, *map(int, preferred)}
    else:
        sizes = set(_DEFAULT_SIZES)
    return sorted(size for size in sizes | {limit} if size <= limit)


def _read(entry: Config) -> GraphSpec:
    size, shapes = int(entry.get("batch_size", 0)), _shapes(entry)
    lower = entry.get("graph_lower_bound")
    if lower is None:
        return GraphSpec(size, shapes, size, shapes)
    return GraphSpec(size, shapes, int(lower.get("batch_size", 0)), _shapes(lower))


def _shapes(entry: Config) -> dict[str, Shape]:
    return {name: tuple(int(dim) for dim in shape.get("dim", [])) for name, shape in entry.get("input", {}).items()}


def _check_sizes(spec: GraphSpec, limit: int) -> None:
    low, high = (0, 0) if limit == 0 else (1, limit)
    for size in (spec.batch_size, spec.lower_batch_size):
        if not low <= size <= high:
            raise ValueError(f"graph_spec: batch_size must lie between {low} and {high}, found {size}")
    if spec.lower_batch_size > spec.batch_size:
        raise ValueError(
            f"graph_lower_bound: batch_size must be {spec.batch_size} at most, found {spec.lower_batch_size}"
        )


def _check_lower_bound(name: str, shape: Shape, lower_shapes: Mapping[str, Shape]) -> None:
    if name not in lower_shapes:
        raise ValueError(f"graph_lower_bound gives no shape for input '{name}'")
    lower = lower_shapes[name]
    if len(lower) != len(shape):
        raise ValueError(f"graph_lower_bound: input '{name}' must have {len(shape)} dimensions, found {len(lower)}")
    for low, high in zip(lower, shape, strict=True):
        if low < 0 or high < 0:
            raise ValueError(f"graph_spec: dimensions of input '{name}' must be 0 or more, found {list(shape)}")
        if low > high:
            raise ValueError(f"graph_lower_bound: a dimension of input '{name}' must be {high} at most, found {low}")
