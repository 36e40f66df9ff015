"""`python -m client perf-analyzer`."""

from __future__ import annotations

import argparse
import dataclasses
import logging
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

from client import images, results
from client.checks import doubtful_figures
from client.commands import common
from client.commands.latency import loads
from client.connection import Control, Model
from client.errors import ClientError
from client.load import perf_analyzer, summary
from client.load.perf_analyzer import Binary
from client.load.sweep import sweep
from client.load.workers import LocalLoader
from client.report import terminal
from client.statistics import formatting

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from client.load.generator import Load

logger = logging.getLogger("client")


def main(arguments: argparse.Namespace) -> None:
    """Measure with perf_analyzer and, right after each load, with this client."""
    endpoint = common.endpoint(arguments)
    if endpoint.headers:
        raise ClientError("perf_analyzer cannot send headers over gRPC", "leave --header out")
    with (
        closing(Control(endpoint)) as control,
        perf_analyzer.located(arguments.binary, docker=arguments.docker) as binary,
    ):
        models = common.models(control, arguments, arguments.batch_sizes)
        path = common.output(arguments, "perf-analyzer", models)
        name, pixels = images.unlabelled(arguments.data)
        server = control.server()
        rows: list[dict[str, Any]] = []
        with closing(LocalLoader(endpoint, pixels)) as loader:
            measure = _measure(arguments, control, loader, models, binary, pixels)
            stopped = common.collected(measure, rows.append)
    if not rows:
        raise stopped or ClientError("nothing was measured")
    result = results.document(
        "perf-analyzer",
        **common.partial(stopped),
        server=server,
        data={"name": name},
        settings={"binary": binary.name, "rounds": arguments.rounds, "duration": arguments.duration},
        models=[common.described(model, arguments) for model in models],
        rows=rows,
        warnings=_warnings(rows),
    )
    common.finish(path, result, terminal.print_perf_analyzer)
    if stopped is not None:
        raise stopped


def _measure(
    arguments: argparse.Namespace,
    control: Control,
    loader: LocalLoader,
    models: list[Model],
    binary: Binary,
    pixels: NDArray[np.uint8],
) -> Iterator[dict[str, Any]]:
    """Yield a row for each load and model."""
    for load in loads(arguments):
        for model in models:
            logger.info("%s, batch %d, %d in flight: perf_analyzer", model.label, load.batch_size, load.concurrency)
            # three of its windows must agree; by default they are as long as its own default, 5 s
            window = dataclasses.replace(load, seconds=arguments.rounds * load.seconds / 2)
            found = perf_analyzer.measure(binary, control.endpoint, model, window, pixels)
            logger.info("%s, batch %d, %d in flight: this client", model.label, load.batch_size, load.concurrency)
            yield _row(model, load, found, list(sweep(control, loader, [model], [load], arguments.rounds)))


def _row(model: Model, load: Load, found: dict[str, Any], windows: Any) -> dict[str, Any]:
    try:
        ours = summary.row(windows)
    except ValueError:
        ours = None
    share = ours and found["images_per_second"] and ours["images_per_second"]["value"] / found["images_per_second"]
    return {
        "model": model.label,
        "batch_size": load.batch_size,
        "concurrency": load.concurrency,
        "rate": None,
        "perf_analyzer": found,
        "client": ours,
        "client_share": share,
    }


def _warnings(rows: list[dict[str, Any]]) -> list[str]:
    warnings = []
    for row in rows:
        name = formatting.measured(row)
        if not row["perf_analyzer"]["stable"]:
            warnings.append(f"{name}: perf_analyzer found no stable measurement in {perf_analyzer.MAX_TRIALS} windows")
        if row["client"]:
            warnings += doubtful_figures.of_row(row["client"])
        else:
            warnings.append(f"{name}: no request of this client was answered")
    return warnings
