"""A plan ready to answer: which batch sizes are prepared, and which buffers a batch takes."""

from __future__ import annotations

import functools
import queue
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from batching import Array
from configuration import Config, configured_dims, prepared_sizes, text
from cuda_calls import Gpu
from engine_facts import EngineFacts, Shape, nearest_profile
from graph_specs import GraphSpec, graph_shapes
from plan_buffers import BufferSet, Shapes

SETS = 3
"""Batches in flight: one is copied while another is computed. More hold more of the GPU's memory and gain nothing."""

KEPT = 1024
"""Shapes of batches that are remembered."""

_INPUTS_ON_GPU = "FORCE_CPU_ONLY_INPUT_TENSORS"


@dataclass
class Started:
    """A batch on its way.

    Attributes:
        wait: its outputs, name -> array of the whole batch; they stay until `done`.
        done: lets another batch have the buffers.
    """

    wait: Callable[[], dict[str, Array]]
    done: Callable[[], None]


@dataclass
class Prepared:
    """What `PlanExecutor.prepare` did, for the log.

    Attributes:
        sizes: batch sizes that are compiled.
        graphs: those with a CUDA graph.
        lines: what could not be done, and why.
    """

    sizes: list[int] = field(default_factory=list)
    graphs: list[int] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


class PlanExecutor:
    """Runs an engine's batches, padded to the prepared sizes.

    Args:
        gpu: where.
        engine: TensorRT's.
        facts: what it says of itself.
        profiles: the numbers of the optimization profiles in use.
        config: the model's.
        runtime_config: makes an `IRuntimeConfig`, or None where the library has none.

    Raises:
        ValueError: the GPU's memory does not suffice, or the engine needs what this backend does not have.
    """

    def __init__(
        self,
        gpu: Gpu,
        engine: Any,
        facts: EngineFacts,
        profiles: Sequence[int],
        config: Config,
        runtime_config: Callable[[], Any],
    ) -> None:
        self.gpu, self._facts, self._config = gpu, facts, config
        self._profiles = {number: facts.profiles[number] for number in profiles}
        self._limit = int(config["max_batch_size"])
        self._names = list(facts.inputs)
        self._sizes = self._prepared_sizes()
        self._route = functools.lru_cache(KEPT)(self._find_route)
        priority = str(config.get("optimization", {}).get("priority", ""))
        largest = {number: self._largest(number) for number in profiles}
        self._sets = [
            BufferSet(
                gpu, facts, {number: _context(engine, runtime_config, gpu) for number in profiles}, largest, priority
            )
            for _ in range(SETS)
        ]
        self._free: queue.SimpleQueue[BufferSet] = queue.SimpleQueue()
        for buffers in self._sets:
            self._free.put(buffers)

    @property
    def sizes(self) -> list[int]:
        """The batch sizes that are prepared, ascending; empty for a model that does not batch."""
        return list(self._sizes)

    def prepare(self, specs: Sequence[GraphSpec]) -> Prepared:
        """Compile the prepared sizes and capture the CUDA graphs, in every set of buffers."""
        done = Prepared()
        for number in self._profiles:
            for shapes in self._shapes_to_prepare(number):
                for buffers in self._sets:
                    buffers.prepare(buffers.run_of(number, shapes))
                done.sizes.append(next(iter(shapes.values()))[0])
            for spec in specs:
                try:
                    shapes = graph_shapes(spec, self._facts, number)
                    self._capture(number, shapes)
                except ValueError as error:
                    done.lines.append(str(error))
                    continue
                done.graphs.append(spec.batch_size)
        return done

    def start(self, parts: Sequence[Mapping[str, Any]], rows: int | None) -> Started:
        """Copy requests together and have the GPU run them; waits only while all buffers are in use.

        Args:
            parts: the inputs of each request; equal but for the batch dimension.
            rows: of them all; None for a model that does not batch.

        Raises:
            ValueError: no profile in use covers the batch, or TensorRT refuses it.
        """
        first = parts[0]
        number, shapes = self._route(rows, tuple((name, tuple(first[name].shape)) for name in self._names))
        buffers = self._free.get()
        try:
            run = buffers.run_of(number, shapes)
            buffers.start(run, rows, on_gpu=buffers.fill(parts, run))
        except BaseException:
            self._free.put(buffers)
            raise
        return Started(buffers.wait, lambda: self._free.put(buffers))

    def run(self, parts: Sequence[Mapping[str, Any]], rows: int | None) -> dict[str, Array]:
        """Run one batch to its end; the outputs are copies."""
        started = self.start(parts, rows)
        try:
            return {name: array.copy() for name, array in started.wait().items()}
        finally:
            started.done()

    def _find_route(self, rows: int | None, asked: tuple[tuple[str, Shape], ...]) -> tuple[int, Shapes]:
        """The profile for requests of these shapes, `rows` together, and the shapes of their batch."""
        shapes = dict(asked) if rows is None else {name: (rows, *shape[1:]) for name, shape in asked}
        number = nearest_profile(self._profiles, shapes)
        return number, shapes if rows is None else self._padded(number, shapes, rows)

    def _padded(self, number: int, shapes: Shapes, rows: int) -> Shapes:
        covered = min(found.max[0] for found in self._profiles[number].values())
        for size in self._sizes:
            if rows <= size <= covered:
                return {name: (size, *shape[1:]) for name, shape in shapes.items()}
        return shapes

    def _prepared_sizes(self) -> list[int]:
        if self._limit == 0:
            return []
        covered = [
            (max(found.min[0] for found in profile.values()), min(found.max[0] for found in profile.values()))
            for profile in self._profiles.values()
        ]
        largest = min(self._limit, max(high for _, high in covered))
        doubling = [1 << power for power in range(largest.bit_length()) if 1 << power <= largest]
        wanted = {*prepared_sizes(self._config), *doubling, largest}
        return sorted({size for size in wanted if any(low <= size <= high for low, high in covered)})

    def _largest(self, number: int) -> Shapes:
        dims = {entry["name"]: configured_dims(entry) for entry in self._config["input"]}
        shapes = {}
        for name, found in self._profiles[number].items():
            batch = () if self._limit == 0 else (min(self._limit, found.max[0]),)
            shape = (*batch, *dims[name])
            shapes[name] = tuple(high if dim < 0 else dim for dim, high in zip(shape, found.max, strict=True))
        return shapes

    def _shapes_to_prepare(self, number: int) -> list[Shapes]:
        """Where everything but the batch is fixed, each prepared size; else nothing, for any shape may come."""
        profile = self._profiles[number]
        if any(found.min[1:] != found.max[1:] for found in profile.values()):
            return []
        low, high = max(found.min[0] for found in profile.values()), min(found.max[0] for found in profile.values())
        sizes = [size for size in self._sizes if low <= size <= high]
        return [{name: (size, *found.max[1:]) for name, found in profile.items()} for size in sizes]

    def _capture(self, number: int, shapes: Shapes) -> None:
        also_on_gpu = text(self._config, _INPUTS_ON_GPU) == "no"
        for buffers in self._sets:
            run = buffers.run_of(number, shapes)
            buffers.capture(run, on_gpu=False)
            if also_on_gpu:
                buffers.capture(run, on_gpu=True)


def _context(engine: Any, runtime_config: Callable[[], Any], gpu: Gpu) -> Any:
    settings = runtime_config()
    context = engine.create_execution_context() if settings is None else engine.create_execution_context(settings)
    if context is None:
        raise ValueError(
            f"TensorRT cannot make an execution context: the GPU's memory may not suffice ({gpu.memory_left()}); "
            "serve fewer models or instances"
        )
    return context
