"""`python -m client latency`."""

from __future__ import annotations

import argparse
import logging
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np

from client import images, results
from client.checks import doubtful_figures, plans_anew
from client.commands import common
from client.connection import Control, Model
from client.errors import ClientError
from client.load import summary
from client.load.generator import Arrivals, Load, Outcome
from client.load.sweep import Window, sweep
from client.load.workers import Loader, LocalLoader, ProcessLoader
from client.report import terminal

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from client.connection import Endpoint

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
        probes = _probed(endpoint, models, pixels, arguments.probed)
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
    if stopped is None:
        plans_anew.compare_with_alone(endpoint, models, pixels, figures["rows"], probes)
    figures["warnings"] = plans_anew.warnings(figures["rows"], probes) + figures["warnings"]
    settings = ("transport", "rounds", "duration", "arrivals", "workers")
    result = results.document(
        "latency",
        **common.partial(stopped),
        server=server,
        data={"name": name},
        settings={name: getattr(arguments, name) for name in settings},
        models=[common.described(model, arguments) for model in models],
        probes=probes,
        **figures,
    )
    common.finish(path, result, terminal.print_latency)
    if stopped is not None:
        raise stopped


def _probed(
    endpoint: Endpoint, models: list[Model], pixels: NDArray[np.uint8], known: Path | None
) -> list[dict[str, Any]]:
    """What a change of the batch size costs each model: it decides what the figures below mean.

    Raises:
        ClientError: `known` is not a result of `probe`, or lacks a model.
    """
    if known is not None:
        found = {entry["model"]: entry for entry in results.read(known).get("rows", []) if "plans_anew" in entry}
        if missing := [model.label for model in models if model.label not in found]:
            raise ClientError(f"--probed {known} says nothing of {', '.join(missing)}", "leave it out")
        return [found[model.label] for model in models]
    logger.info("probing what a change of the batch size costs")
    return list(plans_anew.probe_models(endpoint, models, pixels))


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
        groups.setdefault((window.load, window.model.label), []).append(window)
    rows, warnings = [], doubtful_figures.of_rounds(rounds)
    for group in groups.values():
        try:
            rows.append(summary.row(group))
        except ValueError:
            warnings.append("no request was answered: " + _unanswered(group))
    ratios = summary.ratios(rows, [model.label for model in models])
    for row in rows:
        warnings += doubtful_figures.of_row(row)
    for ratio in ratios:
        warnings += doubtful_figures.of_ratio(ratio, "throughput")
    return {"rows": rows, "ratios": ratios, "warnings": warnings}


def _unanswered(windows: list[Window]) -> str:
    names = ", ".join(sorted({window.model.label for window in windows}))
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
        logger.info("%s, batch %d, %s: %s, %g s", model.label, load.batch_size, pattern, where, load.seconds)

    return tell
