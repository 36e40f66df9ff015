"""Whether an execution takes many times as long because the batch size differs from the execution before.

ONNX Runtime on a GPU plans every convolution anew then (docs/onnxruntime-on-a-gpu.md); other backends compile, tune or
allocate. Dynamic batching changes the size all the time, so what such a server does under load says nothing about the
engine. The probe sends each size several times in a row, sizes in turn, one request in flight, and asks the server's
own counters how long each execution took.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from client.connection import Connection, Model
from client.errors import ClientError, ServerUnreachableError
from client.load.server_times import between
from client.statistics import formatting

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from client.connection import Endpoint

SIZES = (1, 3, 8)
"""Batch sizes: the smallest, one that no configuration prepares for, and one that most do."""

CYCLES = 5
"""Times that all sizes come in turn, after a first one that is not measured: kernels are loaded in it."""

BUDGET_SECONDS = 10.0
"""For one model; a cycle that has begun is ended, and one is always measured."""

MANY_TIMES = 5.0
"""How much longer counts as many times: below that, a busy machine is as good a reason."""

NOTICEABLE_MS = 5.0
"""And by how much at least."""

MOST_INSTANCES = 16
"""Of a model, that the probe allows for; each keeps a plan of its own."""

_COUNTED_WITHIN = 0.5
"""Seconds in which the server's counters must show an answered request."""


def probe_models(
    endpoint: Endpoint, models: Sequence[Model], images: NDArray[np.uint8], sizes: Sequence[int] = SIZES
) -> Iterator[dict[str, Any]]:
    """Probe one model after the other.

    Args:
        endpoint: the server.
        models: whom to ask.
        images: UINT8 [N, 32, 32, 3], to draw requests from.
        sizes: of the batches.

    Yields:
        what `probe` returns; for a model that does not answer, the same fields with `error`.

    Raises:
        ServerUnreachableError: the server is gone.
    """
    with Connection(endpoint) as connection:
        for model in models:
            try:
                yield probe(connection, model, images, sizes)
            except ServerUnreachableError:
                raise
            except ClientError as error:
                yield {**_nothing(model), "error": str(error)}


def probe(
    connection: Connection, model: Model, images: NDArray[np.uint8], sizes: Sequence[int] = SIZES
) -> dict[str, Any]:
    """Measure what a change of the batch size costs.

    Args:
        connection: to the server.
        model: whom to ask.
        images: UINT8 [N, 32, 32, 3], to draw requests from.
        sizes: of the batches; those that the model does not take are left out.

    Returns:
        `model`, `instances`, `rows` (for each size `batch_size`, `changed_ms`, `same_ms`: medians of an execution's
        time after another size and after the same, and `cycles`), `changed_ms` and `same_ms` over all sizes,
        `plans_anew`, `error`. Without two sizes `rows` is empty.

    Raises:
        ClientError: a request failed.
    """
    found = _nothing(model)
    sizes = [size for size in sizes if size <= max(model.max_batch_size, 1)]
    if len(sizes) < 2:
        return found
    # Each instance keeps its own plan, and which one serves a request is the server's choice: after as many requests
    # of a size as there are instances, the next of that size finds it planned on whichever it is.
    repeats = 2 * found["instances"]
    times: dict[int, list[tuple[float, float]]] = {size: [] for size in sizes}
    deadline = time.monotonic() + BUDGET_SECONDS
    for cycle in range(CYCLES + 1):
        for size in sizes:
            taken = [execution_ms(connection, model, images, size) for _ in range(repeats)]
            if cycle:
                times[size].append((taken[0], float(np.median(taken[found["instances"] :]))))
        if cycle and time.monotonic() > deadline:
            break
    rows = [
        {
            "batch_size": size,
            "changed_ms": float(np.median([changed for changed, _ in pairs])),
            "same_ms": float(np.median([same for _, same in pairs])),
            "cycles": len(pairs),
        }
        for size, pairs in times.items()
    ]
    found["rows"] = rows
    for name in ("changed_ms", "same_ms"):
        found[name] = float(np.median([row[name] for row in rows]))
    found["plans_anew"] = sum(_many_times(row["changed_ms"], row["same_ms"]) for row in rows) > len(rows) / 2
    return found


def execution_ms(connection: Connection, model: Model, images: NDArray[np.uint8], size: int) -> float:
    """How long the server computes one request, in ms, by its counters; by this client's clock where they show none.

    Raises:
        ClientError: the request failed.
    """
    connection.reserve(1, size)
    request = connection.prepare(model, images[np.arange(size) % len(images)])
    before = connection.control.statistics()
    begun = time.perf_counter()
    connection.infer(request)
    took = 1000 * (time.perf_counter() - begun)
    deadline = time.monotonic() + _COUNTED_WITHIN
    while time.monotonic() < deadline:
        times = between(before, connection.control.statistics(), model)
        if times.requests == 1:
            return times.compute_infer_ms
        if times.requests > 1:
            break  # others ask too: the mean would be theirs
    return took


def compare_with_alone(
    endpoint: Endpoint,
    models: Sequence[Model],
    images: NDArray[np.uint8],
    rows: list[dict[str, Any]],
    probes: Sequence[dict[str, Any]],
) -> None:
    """Measure, for loads that look slow, the same batch size alone: `alone_ms` in a row of `latency.row`, else None.

    Args:
        endpoint: the server.
        models: of the rows.
        images: UINT8 [N, 32, 32, 3].
        rows: to complete.
        probes: of the models.
    """
    by_name = {model.label: model for model in models}
    probed = {found["model"]: found for found in probes}
    known: dict[tuple[str, int], float | None] = {}
    with Connection(endpoint) as connection:
        for row in rows:
            size = max(round(row["server"]["mean_batch"]), 1)
            key = (row["model"], size)
            if not _looks_slow(row, probed.get(row["model"]), size):
                row["alone_ms"] = None
                continue
            if key not in known:
                known[key] = _alone_ms(connection, by_name[row["model"]], images, size)
            row["alone_ms"] = known[key]


def warnings(rows: Sequence[dict[str, Any]], probes: Sequence[dict[str, Any]]) -> list[str]:
    """What the probes found, and loads under which the server computes many times as long as alone, with the why."""
    probed = {found["model"]: found for found in probes}
    slow: dict[str, list[str]] = {}
    for row in rows:
        alone, loaded = row.get("alone_ms"), row["server"]["compute_infer_ms"]
        if alone is not None and _many_times(loaded, alone):
            text = f"{loaded:.3g} ms an execution under load, {alone:.3g} ms alone"
            what = f"batch {row['batch_size']}, {formatting.load(row)}: {text}"
            slow.setdefault(row["model"], []).append(f"{what}; mean batch {row['server']['mean_batch']:.1f}")
    found = [sentence(entry) + _under(slow.pop(entry["model"], [])) for entry in probes if entry["plans_anew"]]
    for name, loads in slow.items():
        same = probed.get(name, {}).get("rows") and "a change of the batch size is not the reason; "
        found.append(f"{name} computes many times as long under load ({'; '.join(loads)}): {same or ''}"
                     "instances or other programs may share its processor")  # fmt: skip
    return found


def sentence(found: dict[str, Any]) -> str:
    """What a probe found, in one sentence."""
    if found["error"]:
        return f"{found['model']} could not be probed: {found['error']}"
    if not found["rows"]:
        return f"{found['model']} takes one image a request, so its batch size does not change"
    times = f"{found['changed_ms']:.3g} ms an execution"
    if found["plans_anew"]:
        return (
            f"{found['model']} plans anew: {times} after a change of the batch size, {found['same_ms']:.3g} ms where "
            "the size does not change; figures under dynamic batching or mixed sizes say nothing about the engine "
            "(docs/onnxruntime-on-a-gpu.md)"
        )
    return (
        f"{found['model']} does not mind a change of the batch size: {times} after one, {found['same_ms']:.3g} ms else"
    )


def _under(loads: Sequence[str]) -> str:
    return f"; seen at {'; '.join(loads)}" if loads else ""


def _looks_slow(row: dict[str, Any], found: dict[str, Any] | None, size: int) -> bool:
    """Whether the same size alone is worth measuring: it takes no less than a smaller one, which the probe measured."""
    smaller = [entry["same_ms"] for entry in (found or _NO_ROWS)["rows"] if entry["batch_size"] <= size]
    return row["server"]["requests"] > 0 and _many_times(row["server"]["compute_infer_ms"], max(smaller, default=0.0))


def _alone_ms(connection: Connection, model: Model, images: NDArray[np.uint8], size: int) -> float | None:
    instances = _instances(model)
    try:
        taken = [execution_ms(connection, model, images, size) for _ in range(2 * instances + 1)]
    except ClientError:
        return None
    return float(np.median(taken[instances:]))


def _many_times(long: float, short: float) -> bool:
    return long > MANY_TIMES * short and long - short > NOTICEABLE_MS


def _instances(model: Model) -> int:
    count: int = sum(model.configuration.get("instances", {}).values())
    return min(max(count, 1), MOST_INSTANCES)


_NO_ROWS: dict[str, Any] = {"rows": []}


def _nothing(model: Model) -> dict[str, Any]:
    return {
        "model": model.label,
        "instances": _instances(model),
        "rows": [],
        "changed_ms": None,
        "same_ms": None,
        "plans_anew": False,
        "error": None,
    }
