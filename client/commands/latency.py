"""`python -m client latency`."""

from __future__ import annotations

import argparse
import logging
from contextlib import closing
from typing import Any

import numpy as np

from client import doubts, images, latency, results, tables
from client.commands import common
from client.connection import Control, Model
from client.errors import ClientError
from client.load import Arrivals, Load, Outcome
from client.loaders import Loader, LocalLoader, ProcessLoader
from client.sweep import Window, sweep

logger = logging.getLogger("client")


def main(arguments: argparse.Namespace) -> None:
    """Measure every model under every load, in rounds; show and write the figures and what makes them doubtful."""
    endpoint = common.endpoint(arguments)
    with closing(Control(endpoint)) as control:
        models = common.models(control, arguments, arguments.batch_sizes)
        path = common.output(arguments, "latency", models)
        name, pixels = images.unlabelled(arguments.data)
        server = control.server()
        loader: Loader = (
            LocalLoader(endpoint, pixels)
            if arguments.workers == 1
            else ProcessLoader(endpoint, pixels, arguments.workers)
        )
        windows: list[Window] = []
        try:
            measure = sweep(control, loader, models, loads(arguments), arguments.rounds, _begun(arguments))
            stopped = common.collected(measure, windows.append)
        finally:
            loader.close()
    figures = summarised(windows, models, arguments.rounds)
    if not figures["rows"]:
        raise stopped or ClientError(
            "no request was answered, so there is no latency: " + _unanswered(windows), "see the server's log"
        )
    settings = ("transport", "rounds", "duration", "arrivals", "workers")
    result = results.document(
        "latency",
        **common.partial(stopped),
        server=server,
        data={"name": name},
        settings={name: getattr(arguments, name) for name in settings},
        models=[common.described(model, arguments) for model in models],
        **figures,
    )
    common.finish(path, result, tables.print_latency)
    if stopped is not None:
        raise stopped


def loads(arguments: argparse.Namespace) -> list[Load]:
    """Every batch size under every concurrency or rate."""
    duration = arguments.duration
    if getattr(arguments, "rate", None):
        arrivals = Arrivals(arguments.arrivals)
        return [
            Load(batch_size, duration, rate=rate, arrivals=arrivals)
            for batch_size in arguments.batch_sizes
            for rate in arguments.rate
        ]
    return [
        Load(batch_size, duration, concurrency=concurrency)
        for batch_size in arguments.batch_sizes
        for concurrency in arguments.concurrency or [2]
    ]


def summarised(windows: list[Window], models: list[Model], rounds: int) -> dict[str, Any]:
    """Rows, ratios and warnings of all windows; a load that nothing answered under gives a warning instead of a row."""
    groups: dict[tuple[Load, str], list[Window]] = {}
    for window in windows:
        groups.setdefault((window.load, window.model.name), []).append(window)
    rows, warnings = [], doubts.of_rounds(rounds)
    for group in groups.values():
        try:
            rows.append(latency.row(group))
        except ValueError:
            warnings.append("no request was answered: " + _unanswered(group))
    ratios = latency.ratios(rows, [model.name for model in models])
    for row in rows:
        warnings += doubts.of_row(row)
    for ratio in ratios:
        warnings += doubts.of_ratio(ratio, "throughput")
    return {"rows": rows, "ratios": ratios, "warnings": warnings}


def _unanswered(windows: list[Window]) -> str:
    names = ", ".join(sorted({window.model.name for window in windows}))
    outcomes = np.concatenate([window.record.outcome for window in windows]) if windows else np.array([])
    counts = {outcome: int((outcomes == outcome).sum()) for outcome in Outcome}
    return (
        f"{names}, {len(outcomes):,} sent: {counts[Outcome.REJECTED]:,} rejected by its queue, "
        f"{counts[Outcome.TIMED_OUT]:,} timed out, {counts[Outcome.FAILED]:,} failed"
    )


def _begun(arguments: argparse.Namespace) -> Any:
    def tell(model: Model, load: Load, number: int) -> None:
        pattern = f"{load.concurrency} in flight" if load.concurrency else f"{load.rate:g} requests/s"
        where = f"round {number + 1} of {arguments.rounds}"
        logger.info("%s, batch %d, %s: %s, %g s", model.name, load.batch_size, pattern, where, load.seconds)

    return tell
