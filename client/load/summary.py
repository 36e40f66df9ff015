"""From windows to figures: a row for each model and load, a ratio for each pair, and what makes them doubtful."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from client.load.generator import Load, Outcome, Record
from client.load.sweep import Window
from client.statistics import estimates
from client.statistics.modes import two_modes

if TYPE_CHECKING:
    from numpy.typing import NDArray

QUARTERS = 4
"""Parts of a window whose median latencies are compared: under too high a rate each is longer than the last."""

PARTS = 8
"""Most parts of a window whose throughputs are compared: a server that changes its ways shows in them."""

PART_REQUESTS = 16
"""Fewest answers in a part, as a rule: the count of fewer says little."""


def images_per_second(record: Record, load: Load) -> float:
    """Throughput: what was answered while load was on, over the time to the last of those answers.

    The answers that come after the sending has ended are left out, because fewer and fewer requests are then in flight.
    """
    answered = np.sort(record.answered[record.outcome == Outcome.ANSWERED])
    counted = answered[answered <= record.end]
    if not len(counted):  # a window shorter than one request
        counted = answered
    if not len(counted):
        return 0.0
    return float(len(counted) * load.batch_size / (counted[-1] - record.begin))


def latencies_ms(record: Record) -> NDArray[np.float64]:
    """Of every answered request, from when it was due to its answer, in ms."""
    chosen = record.outcome == Outcome.ANSWERED
    return np.asarray(1000 * (record.answered[chosen] - record.due[chosen]))


def row(windows: list[Window]) -> dict[str, Any]:
    """The figures of one model under one load, over all rounds.

    Raises:
        ValueError: no request was answered.
    """
    load, model = windows[0].load, windows[0].model
    pooled = np.concatenate([latencies_ms(window.record) for window in windows])
    latency = estimates.latency_summary(pooled)
    rates = [images_per_second(window.record, load) for window in windows]
    outcomes = np.concatenate([window.record.outcome for window in windows])
    server = _server(windows)
    return {
        "model": model.label,
        "batch_size": load.batch_size,
        "concurrency": load.concurrency,
        "rate": load.rate,
        "requests": len(pooled),
        "rejected": int((outcomes == Outcome.REJECTED).sum()),
        "timed_out": int((outcomes == Outcome.TIMED_OUT).sum()),
        "failed": int((outcomes == Outcome.FAILED).sum()),
        "latency_ms": latency,
        "p50_ms_by_quarter": _by_quarter(windows),
        "images_per_second": _interval(rates),
        "modes": _modes(windows),
        "server": server,
        "outside_server_ms": latency["mean"] - server["total_ms"],
        "client_cpu": max(window.record.cpu_seconds / (_seconds(window.record)) for window in windows),
        "send_delay_ms": _send_delay(windows),
        "rounds": [
            {"images_per_second": rate, "p50_ms": _median(window), "p99_ms": _median(window, 99)}
            for rate, window in zip(rates, windows, strict=True)
        ],
    }


def ratios(rows: list[dict[str, Any]], models: list[str]) -> list[dict[str, Any]]:
    """The first model against each other one under each load: throughput and median latency, in rounds side by side.

    A ratio of 2 means the other model does twice the images a second, or has half the latency.
    """
    first, *others = models
    found = []
    for base in (row for row in rows if row["model"] == first):
        for other in (row for row in rows if row["model"] in others and _same_load(row, base)):
            pairs = [
                (ours, theirs)
                for ours, theirs in zip(other["rounds"], base["rounds"], strict=False)
                if min(ours["images_per_second"], theirs["images_per_second"]) > 0
            ]
            if not pairs:
                continue
            throughput = estimates.ratio_over_rounds(
                [ours["images_per_second"] for ours, _ in pairs], [theirs["images_per_second"] for _, theirs in pairs]
            )
            speedup = estimates.ratio_over_rounds(
                [theirs["p50_ms"] for _, theirs in pairs], [ours["p50_ms"] for ours, _ in pairs]
            )
            found.append(
                {
                    **{name: base[name] for name in ("batch_size", "concurrency", "rate")},
                    "model": other["model"],
                    "baseline": first,
                    "throughput": dataclasses.asdict(throughput),
                    "p50_speedup": dataclasses.asdict(speedup),
                }
            )
    return found


def _same_load(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(one[name] == other[name] for name in ("batch_size", "concurrency", "rate"))


def _interval(rates: list[float]) -> dict[str, float]:
    if min(rates) <= 0:
        return {"value": float(np.mean(rates)), "low": float("nan"), "high": float("nan")}
    return dataclasses.asdict(estimates.mean_over_rounds(rates))


def _median(window: Window, percentile: float = 50) -> float:
    found = latencies_ms(window.record)
    return float(np.percentile(found, percentile)) if len(found) else float("nan")


def _modes(windows: list[Window]) -> dict[str, float] | None:
    """Whether a closed loop's throughput has two modes over parts of the windows: images/s of both, the lower's share.

    A part is an eighth of a window, or more where fewer than `PART_REQUESTS` requests of the slowest window fall into
    one.
    """
    load = windows[0].load
    if load.concurrency is None:
        return None
    answered = [window.record.answered[window.record.outcome == Outcome.ANSWERED] for window in windows]
    fewest = min(int((times <= window.record.end).sum()) for times, window in zip(answered, windows, strict=True))
    parts = int(np.clip(fewest // PART_REQUESTS, 1, PARTS))
    rates: list[float] = []
    for times, window in zip(answered, windows, strict=True):
        edges = np.linspace(window.record.begin, window.record.end, parts + 1)
        counts = np.histogram(times, edges)[0]
        rates += (counts * load.batch_size * parts / (window.record.end - window.record.begin)).tolist()
    found = two_modes(rates)
    return None if found is None else found.as_json()


def _seconds(record: Record) -> float:
    last = record.answered.max() if len(record.answered) else record.end
    return float(max(last, record.end) - record.begin)


def _send_delay(windows: list[Window]) -> float:
    """How late the client itself sent, 99th percentile in ms: what it could not keep up with."""
    late = np.concatenate([window.record.sent - window.record.due for window in windows])
    return float(1000 * np.percentile(late, 99)) if len(late) else 0.0


def _by_quarter(windows: list[Window]) -> list[float]:
    """Median latency of the requests due in each quarter of the windows, in ms; NaN where none was answered."""
    quarters: list[list[NDArray[np.float64]]] = [[] for _ in range(QUARTERS)]
    for window in windows:
        record = window.record
        chosen = record.outcome == Outcome.ANSWERED
        place = (record.due[chosen] - record.begin) / (record.end - record.begin) * QUARTERS
        for number in range(QUARTERS):
            inside = np.clip(place.astype(int), 0, QUARTERS - 1) == number
            quarters[number].append(latencies_ms(record)[inside])
    joined = [np.concatenate(parts) for parts in quarters]
    return [float(np.median(part)) if len(part) else float("nan") for part in joined]


def _server(windows: list[Window]) -> dict[str, Any]:
    """Triton's own counts over all windows: sums, and means weighted by requests."""
    times = [window.server for window in windows]
    weights = np.array([time.requests for time in times], float)
    fields = ("total_ms", "queue_ms", "compute_input_ms", "compute_infer_ms", "compute_output_ms")
    total = max(float(weights.sum()), 1.0)
    means = {name: float(np.dot([getattr(time, name) for time in times], weights) / total) for name in fields}
    executions = sum(time.executions for time in times)
    return {
        "requests": int(weights.sum()),
        "failed": sum(time.failed for time in times),
        "other_requests": sum(time.other_requests for time in times),
        "mean_batch": sum(time.images for time in times) / executions if executions else 0.0,
        **means,
    }
