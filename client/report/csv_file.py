"""The report as CSV: a row for each figure, so that any tool can pick what it needs."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from io import StringIO
from typing import Any

COLUMNS = ("command", "model", "baseline", "batch_size", "concurrency", "rate", "figure", "value", "low", "high")

_SERVER = ("queue_ms", "compute_input_ms", "compute_infer_ms", "compute_output_ms", "mean_batch")


def csv_text(results: list[dict[str, Any]]) -> str:
    """All figures of the results, with a header line; an empty cell is what does not apply or is unknown."""
    text = StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for result in results:
        for row in _FIGURES[result["command"]](result):
            writer.writerow({"command": result["command"], **row})
    return text.getvalue()


def _check(result: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for check in result["checks"]:
        yield {"model": check["model"], "figure": "check_passed", "value": int(check["passed"])}
    for row in result["rows"]:
        for figure in ("requests", "wrong_requests", "images", "wrong_images", "max_abs_difference"):
            phase = row["phase"].replace(" ", "_")
            yield {**_place(row), "figure": f"check_{phase}_{figure}", "value": row[figure]}


def _accuracy(result: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for model in result["models"]:
        name = {"model": model["name"]}
        if model["accuracy"]:
            yield {**name, "figure": "accuracy", **_interval(model["accuracy"])}
            yield {**name, "figure": "images_per_second", "value": model["images_per_second"]}
            for entry in model["per_class"]:
                yield {**name, "figure": f"accuracy_{entry['name']}", **_interval(entry)}
        if paired := model["paired"]:
            name["baseline"] = paired["baseline"]
            yield {**name, "figure": "top1_agreement", **_interval(paired["top1_agreement"])}
            yield {**name, "figure": "accuracy_difference", **_interval(paired["difference"])}
            for figure in ("wins", "losses", "p_value", "max_abs_difference"):
                yield {**name, "figure": figure, "value": paired[figure]}
        if reference := model["reference"]:
            name["baseline"] = "PyTorch"
            for figure in ("top1_agreement", "max_abs_difference"):
                yield {**name, "figure": figure, "value": reference[figure]}


def _latency(result: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for row in result["rows"]:
        yield from _measured(row, row)
    for ratio in result["ratios"]:
        place = _place(ratio) | {"baseline": ratio["baseline"]}
        for figure in ("throughput", "p50_speedup"):
            yield {**place, "figure": f"{figure}_ratio", **_interval(ratio[figure])}


def _probe(result: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for found in result["rows"]:
        for row in found["rows"]:
            for figure in ("changed_ms", "same_ms"):
                place = {"model": found["model"], "batch_size": row["batch_size"], "concurrency": 1}
                yield {**place, "figure": f"execution_{figure}", "value": row[figure]}


def _end_to_end(result: dict[str, Any]) -> Iterator[dict[str, Any]]:
    settings = {name: result["settings"][name] for name in ("batch_size", "concurrency")}
    for row in result["rows"]:
        yield {"model": row["model"], **settings, "figure": "seconds", **_interval(row["seconds"])}
    for ratio in result["ratios"]:
        place = {"model": ratio["model"], "baseline": ratio["baseline"], **settings}
        yield {**place, "figure": "speedup", **_interval(ratio["speedup"])}


def _perf_analyzer(result: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for row in result["rows"]:
        yield from _measured(row, row["perf_analyzer"], "perf_analyzer_")
        if row["client"]:
            yield from _measured(row, row["client"])


def _measured(row: dict[str, Any], figures: dict[str, Any], prefix: str = "") -> Iterator[dict[str, Any]]:
    place = _place(row)
    rate = figures["images_per_second"]
    value = _interval(rate) if isinstance(rate, dict) else {"value": rate}
    yield {**place, "figure": f"{prefix}images_per_second", **value}
    for name, latency in figures["latency_ms"].items():
        yield {**place, "figure": f"{prefix}{name}_ms", "value": latency}
    for name in _SERVER:
        if name in figures["server"]:
            yield {**place, "figure": f"{prefix}server_{name}", "value": figures["server"][name]}
    for name in ("requests", "rejected", "timed_out", "failed"):
        if name in figures:
            yield {**place, "figure": f"{prefix}{name}", "value": figures[name]}


def _place(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("model", "batch_size", "concurrency", "rate")}


def _interval(found: dict[str, Any]) -> dict[str, Any]:
    return {name: found[name] for name in ("value", "low", "high")}


_FIGURES = {
    "check": _check,
    "probe": _probe,
    "accuracy": _accuracy,
    "latency": _latency,
    "end-to-end": _end_to_end,
    "perf-analyzer": _perf_analyzer,
}
