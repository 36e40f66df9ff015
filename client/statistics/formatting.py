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


def versioned(model: dict[str, Any]) -> str:
    """A model with the version that answered, and those that could have, where the server has several."""
    name, version = str(model["name"]), model["version"]
    if name == f"{model.get('model_name')}:{version}":
        return name
    others = model.get("versions") or []
    return f"{name} version {version}" + (f" of {', '.join(others)}" if len(others) > 1 else "")


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


PROBE_COLUMNS = ["model", "batch size", "after another size", "after the same size", "times"]
"""Of a table of `probe_rows`."""


def probe_rows(probes: list[dict[str, Any]]) -> list[list[str]]:
    """What a change of the batch size costs, a row for each model and size."""
    return [
        [found["model"], str(row["batch_size"]), number(row["changed_ms"]), number(row["same_ms"]),
         number(row["changed_ms"] / row["same_ms"]) if row["same_ms"] else "-"]
        for found in probes
        for row in found["rows"]
    ]  # fmt: skip


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


CHECK_COLUMNS = ("model", "requests", "number", "batch sizes", "images", "wrong images", "largest difference")
"""Of the table of `check`."""


def check_rows(result: dict[str, Any]) -> list[list[str]]:
    """The table of `check`: a row for each model and each way in which requests followed one another."""
    groups: dict[tuple[str, str, int], list[dict[str, Any]]] = {}
    for row in result["rows"]:
        groups.setdefault((row["model"], row["phase"], row["concurrency"]), []).append(row)
    found = []
    for (model, phase, concurrency), rows in groups.items():
        sizes = [row["batch_size"] for row in rows]
        span = str(sizes[0]) if len(sizes) == 1 else f"{len(sizes)} from {min(sizes)} to {max(sizes)}"
        images, wrong = (sum(row[name] for row in rows) for name in ("images", "wrong_images"))
        found.append(
            [
                model,
                f"{concurrency} {phase}" if concurrency > 1 else phase,
                f"{sum(row['requests'] for row in rows):,}",
                span,
                f"{images:,}",
                f"{wrong:,}",
                f"{max(row['max_abs_difference'] for row in rows):.1e}",
            ]
        )
    return found


def check_sentences(check: dict[str, Any]) -> list[str]:
    """What a check found of one model."""
    if check["passed"]:
        against = "PyTorch's" if check["reference"]["file"] else "its answer alone"
        return [
            f"{check['model']}: all {check['images']:,} answers belong to their images (held against {against}, "
            f"largest difference {check['max_abs_difference']:.1e})"
        ]
    return [f"{check['model']}: WRONG ANSWERS: {finding['text']}" for finding in check["findings"]]


def faults(result: dict[str, Any]) -> list[str]:
    """What a result says of models that answer wrong; only `check` says such."""
    wrong = [check for check in result.get("checks", []) if not check["passed"]]
    return [f"{check['model']}: {finding['text']}" for check in wrong for finding in check["findings"]]
