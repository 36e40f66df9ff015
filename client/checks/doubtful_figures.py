"""When a measurement is not to be trusted, and why."""

from __future__ import annotations

import math
from typing import Any

from client.statistics import estimates, formatting

WIDE = 0.10
"""Relative width of an interval above which a figure is too uncertain to compare; perf_analyzer's stability limit."""

FEW_ROUNDS = 5
"""Fewer rounds give intervals that miss the truth more often than they say."""

BUSY = 0.8
"""Share of a core from which a Python process limits what it measures: one core is all it can use."""

GROWING = 1.5
"""How much longer latency in a window's last quarter may be than in its first before the load counts as too much."""

LATE_MS = 1.0
"""How late an open loop may send (99th percentile)."""


def of_row(row: dict[str, Any]) -> list[str]:
    """What is doubtful about a row of `latency.row`."""
    rate, server = row["images_per_second"], row["server"]
    sent = row["requests"] + row["rejected"] + row["timed_out"] + row["failed"]
    width = (rate["high"] - rate["low"]) / rate["value"] if rate["value"] else math.inf
    late = row["p50_ms_by_quarter"]
    growing = row["rate"] is not None and late[-1] > GROWING * late[0]
    slack = 2 * (row["concurrency"] or 1) * len(row["rounds"])  # requests that the counters had not seen yet
    foreign = max(server["requests"] - row["requests"] - slack, 0) + server["other_requests"]
    checks = [
        (width > WIDE, f"throughput is uncertain by {width:.0%} (more than {WIDE:.0%}): more --rounds or --duration"),
        (_failures(row) != "", f"{_failures(row)} of {sent:,} requests"),
        (
            row["requests"] < estimates.samples_for(99),
            f"{row['requests']:,} requests are too few for a p99 (fewer than {estimates.samples_for(99)}): "
            "more --rounds or --duration",
        ),
        (
            row["client_cpu"] > BUSY,
            f"the client used {row['client_cpu']:.0%} of a core, so it limits what it measures: --workers 2, or "
            "perf_analyzer",
        ),
        (row.get("modes") is not None, _two_modes(row)),
        (foreign > 0, f"the server answered {foreign:,} requests that were not ours"),
        (growing, f"latency grew from {late[0]:.1f} to {late[-1]:.1f} ms within a window: the rate is above capacity"),
        (
            row["rate"] is not None and row["send_delay_ms"] > LATE_MS,
            f"the client sent up to {row['send_delay_ms']:.1f} ms late (p99): --workers 2, or a lower --rate",
        ),
    ]
    return [f"{formatting.measured(row)}: {text}" for doubtful, text in checks if doubtful]


def _two_modes(row: dict[str, Any]) -> str:
    modes = row.get("modes")
    if modes is None:
        return ""
    return (
        f"throughput has two modes, {modes['low']:,.0f} images/s in {modes['low_share']:.0%} of the time and "
        f"{modes['high']:,.0f} in the rest: which of them a run gets is luck, and the mean is neither"
    )


def of_rounds(rounds: int) -> list[str]:
    """What is doubtful about the number of rounds."""
    if rounds >= FEW_ROUNDS:
        return []
    return [f"{rounds} rounds give no interval to rely on: --rounds {FEW_ROUNDS} or more"]


def of_ratio(ratio: dict[str, Any], name: str) -> list[str]:
    """What is doubtful about a ratio of two models; `name` is the field that holds it."""
    found = ratio[name]
    width = (found["high"] - found["low"]) / found["value"]
    if not width > WIDE:
        return []
    load = formatting.measured(ratio) if "batch_size" in ratio else ratio["model"]
    return [f"{load} against {ratio['baseline']}: the ratio is uncertain by {width:.0%} (more than {WIDE:.0%})"]


def _failures(row: dict[str, Any]) -> str:
    words = {"rejected": "were rejected by the queue", "timed_out": "timed out", "failed": "failed"}
    return ", ".join(f"{row[name]:,} {text}" for name, text in words.items() if row[name])
