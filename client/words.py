"""Figures as text: the same on the terminal and in the report."""

from __future__ import annotations

from typing import Any


def number(value: float | None) -> str:
    """Three significant digits, thousands separated; a dash for what is unknown."""
    if value is None:
        return "-"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 0.01 or not value else f"{value:.2g}"


def rate(figure: Any) -> str:
    """A throughput, with or without an interval."""
    return interval(figure) if isinstance(figure, dict) else number(figure)


def interval(figure: dict[str, Any]) -> str:
    """VALUE [LOW, HIGH]."""
    if figure["low"] is None:
        return number(figure["value"])
    return f"{number(figure['value'])} [{number(figure['low'])}, {number(figure['high'])}]"


def times(figure: dict[str, Any]) -> str:
    """A ratio: 2.31x [2.24, 2.39]."""
    if figure["low"] is None:
        return f"{figure['value']:.2f}x"
    return f"{figure['value']:.2f}x [{figure['low']:.2f}, {figure['high']:.2f}]"


def percent(share: float | None, digits: int = 2) -> str:
    """A share as a percentage."""
    return "-" if share is None else f"{100 * share:.{digits}f} %"


def proportion(found: dict[str, Any]) -> str:
    """A share with its interval: 92.31 % [91.77, 92.82]."""
    return f"{percent(found['value'])} [{100 * found['low']:.2f}, {100 * found['high']:.2f}]"


def title(result: dict[str, Any]) -> str:
    """The server of a result."""
    server = result["server"]
    return f"Triton {server['version']} ({server['url']})" if server else "a server that went away"


def load(row: dict[str, Any]) -> str:
    """How a row loaded the server."""
    return f"{row['concurrency']} in flight" if row["concurrency"] else f"{row['rate']:g} requests/s"


def measured(row: dict[str, Any]) -> str:
    """Which model, under which load."""
    return f"{row['model']}, batch {row['batch_size']}, {load(row)}"


def compute(server: dict[str, Any]) -> float | None:
    """Input, inference and output of the server's times together, in ms."""
    parts = [server[name] for name in ("compute_input_ms", "compute_infer_ms", "compute_output_ms")]
    return None if None in parts else sum(parts)


def requests(row: dict[str, Any]) -> str:
    """How many were answered, and how many were not."""
    lost = {"rejected": "rejected", "timed_out": "timed out", "failed": "failed"}
    unanswered = "".join(f", {row[name]:,} {text}" for name, text in lost.items() if row[name])
    return f"{row['requests']:,}{unanswered}"


def accuracy_rows(models: list[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    """The table of `accuracy`: a label, and a cell for each model; rows that no model fills are left out."""

    def scored(model: dict[str, Any], function: Any) -> str:
        return function(model) if model["accuracy"] else ""

    def paired(model: dict[str, Any], function: Any) -> str:
        return function(model["paired"]) if model["paired"] else ""

    def reference(model: dict[str, Any], function: Any) -> str:
        return function(model["reference"]) if model["reference"] else ""

    baseline = models[0]["name"]
    table: list[tuple[str, Any, Any]] = [
        ("test images", scored, lambda model: f"{model['accuracy']['total']:,}"),
        ("correct", scored, lambda model: f"{model['accuracy']['count']:,}"),
        ("accuracy [95 % interval]", scored, lambda model: proportion(model["accuracy"])),
        ("throughput", scored, lambda model: f"{model['images_per_second']:,.0f} images/s"),
        (f"same class as {baseline}", paired, lambda found: proportion(found["top1_agreement"])),
        (
            "right where it is wrong / wrong where right",
            paired,
            lambda found: f"{found['wins']:,} / {found['losses']:,}",
        ),
        ("accuracy difference in points", paired, lambda found: points(found["difference"])),
        ("exact McNemar p", paired, lambda found: f"{found['p_value']:.3g}"),
        ("largest logit difference", paired, lambda found: f"{found['max_abs_difference']:.1e}"),
        ("synthetic images compared with PyTorch", reference, lambda found: f"{found['images']:,}"),
        ("same class as PyTorch", reference, lambda found: percent(found["top1_agreement"])),
        ("largest logit difference from PyTorch", reference, lambda found: f"{found['max_abs_difference']:.1e}"),
    ]
    rows = [(label, [select(model, function) for model in models]) for label, select, function in table]
    return [(label, cells) for label, cells in rows if any(cells)]


def points(difference: dict[str, Any]) -> str:
    """A difference of shares in percentage points, with its interval."""
    return f"{100 * difference['value']:+.2f} [{100 * difference['low']:+.2f}, {100 * difference['high']:+.2f}]"
