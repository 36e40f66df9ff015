"""`python -m client end-to-end`."""

from __future__ import annotations

import argparse
import dataclasses
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from client import images, results
from client.checks import doubtful_figures
from client.commands import common
from client.connection import Connection, Model
from client.errors import ClientError
from client.load import classification
from client.load.sweep import rotated
from client.report import terminal
from client.statistics import estimates

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

logger = logging.getLogger("client")


def main(arguments: argparse.Namespace) -> None:
    """Time the classification of all test images by each model, in rounds, and their ratio."""
    with Connection(common.endpoint(arguments)) as connection:
        models = common.models(connection.control, arguments, [arguments.batch_size])
        path = common.output(arguments, "end-to-end", models)
        name, pixels = images.unlabelled(arguments.data)
        pixels = pixels[: arguments.limit]
        server = connection.control.server()
        times: dict[str, list[float]] = {model.label: [] for model in models}
        stopped = common.collected(
            _measure(connection, models, pixels, arguments), lambda found: times[found[0]].append(found[1])
        )
    if not all(times.values()):
        raise stopped or ClientError("nothing was measured")
    rows = [_row(name, seconds, len(pixels)) for name, seconds in times.items()]
    ratios = _ratios(times)
    warnings = doubtful_figures.of_rounds(arguments.rounds)
    for ratio in ratios:
        warnings += doubtful_figures.of_ratio(ratio, "speedup")
    settings = ("batch_size", "concurrency", "rounds", "transport")
    result = results.document(
        "end-to-end",
        **common.partial(stopped),
        server=server,
        data={"name": name, "images": len(pixels)},
        settings={name: getattr(arguments, name) for name in settings},
        models=[common.described(model, arguments) for model in models],
        rows=rows,
        ratios=ratios,
        warnings=warnings,
    )
    common.finish(path, result, terminal.print_end_to_end)
    if stopped is not None:
        raise stopped


def _measure(
    connection: Connection, models: list[Model], pixels: NDArray[np.uint8], arguments: argparse.Namespace
) -> Iterator[tuple[str, float]]:
    """Yield (model, seconds) for each pass; the models' order rotates from round to round."""
    sizes: dict[str, Any] = {"batch_size": arguments.batch_size, "concurrency": arguments.concurrency}
    for model in models:
        classification.classify(connection, model, pixels[: 4 * arguments.batch_size], **sizes)  # warm-up
    for number in range(arguments.rounds):
        for model in rotated(models, number):
            label = f"{model.label}: round {number + 1} of {arguments.rounds}"
            with terminal.progress_bar(label, len(pixels)) as progress:
                answers = classification.classify(connection, model, pixels, **sizes, progress=progress)
            logger.info("%s: %.2f s", label, answers.seconds)
            yield model.label, answers.seconds


def _row(name: str, seconds: list[float], count: int) -> dict[str, Any]:
    figure = estimates.mean_over_rounds(seconds)
    return {
        "model": name,
        "seconds": dataclasses.asdict(figure),
        "images_per_second": count / figure.value,
        "rounds": seconds,
    }


def _ratios(times: dict[str, list[float]]) -> list[dict[str, Any]]:
    """How many times less time each other model takes than the first."""
    (first, base), *others = times.items()
    found = []
    for name, seconds in others:
        rounds = min(len(base), len(seconds))
        speedup = estimates.ratio_over_rounds(base[:rounds], seconds[:rounds])
        found.append({"model": name, "baseline": first, "speedup": dataclasses.asdict(speedup)})
    return found
