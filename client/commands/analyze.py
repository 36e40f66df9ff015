"""`python -m client analyze`."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType

from client import results
from client.commands import common
from client.connection import Control, Endpoint, Model, versions
from client.errors import ClientError
from client.load import model_analyzer, perf_analyzer
from client.load.model_analyzer import Search

logger = logging.getLogger("client")

METRICS_PORT = 8002


def main(arguments: argparse.Namespace) -> None:
    """Have Model Analyzer search a model's configurations, and say which is best and where its report is."""
    endpoint = common.endpoint(arguments)
    if endpoint.headers or endpoint.tls:
        raise ClientError("Model Analyzer is not told headers and certificates here", "leave --header and --tls-ca out")
    program = model_analyzer.located()
    directory: Path = (arguments.output or Path("results") / f"analyze-{arguments.model}").absolute()
    results.check_writable(directory / "options.yaml")
    search = Search(
        arguments.max_batch_size,
        arguments.max_instances,
        arguments.max_concurrency,
        arguments.window,
        arguments.concurrency_sweep,
    )
    with (
        closing(Control(endpoint)) as control,
        perf_analyzer.located(arguments.binary, docker=False) as binary,
    ):
        model = control.named(arguments.model)
        model_analyzer.check_name(model)
        _check_explicit(control, model)
        _say_what_is_searched(model, search)
        options = model_analyzer.configuration(model, endpoint, _metrics_url(arguments, endpoint), binary, search,
                                               directory)  # fmt: skip
        begin = time.monotonic()
        try:
            with _sigterm_interrupts():
                model_analyzer.run(program, binary, options, directory, 60 * arguments.limit, logger.info)
        finally:
            _restore(control, model)
    _say_what_was_found(model, directory, time.monotonic() - begin)


@contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """SIGTERM ends it as Ctrl-C does: Model Analyzer would go on without us, loading and unloading the model."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _check_explicit(control: Control, model: Model) -> None:
    """Load the model as it is: whether the server lets its clients load models at all.

    Raises:
        ClientError: it does not.
    """
    try:
        versions.load(control, model.name)
    except versions.ModeError as error:
        raise ClientError(str(error), f"{error.hint}; or make analyze without URL") from None


def _restore(control: Control, model: Model) -> None:
    """Have the server serve the model as its repository has it: the last configuration tried is still loaded, or none.

    It is unloaded first: where its files have not changed, Triton keeps the configuration that came with a load.

    Raises:
        ClientError: it cannot.
    """
    try:
        control.call("unload_model", model.name)
        versions.load(control, model.name)
    except ClientError as error:
        raise ClientError(
            f"the server at {control.endpoint.url} does not serve {model.name} as before: {error}",
            error.hint or "start it again",
        ) from None


def _say_what_is_searched(model: Model, search: Search) -> None:
    least, most = model_analyzer.batch_sizes(model, search.max_batch_size)
    sizes = f"max_batch_size {least} to {most}" if least < most else f"max_batch_size {least}"
    why = f" (not below {least}: its warm-up has such batches)" if least > 1 else ""
    logger.info(
        "%s: quick search over %s%s, 1 to %d instances, dynamic batching on",
        model.name, sizes, why, search.max_instances,
    )  # fmt: skip


def _say_what_was_found(model: Model, directory: Path, seconds: float) -> None:
    rows = model_analyzer.measurements(directory, model)
    if not rows:
        raise ClientError(f"Model Analyzer measured nothing of {model.name}", f"all it said: {directory}")
    names = list(dict.fromkeys(row["Model Config Path"] for row in rows))
    logger.info("%d configurations, %d measurements, %.1f minutes", len(names), len(rows), seconds / 60)
    best = rows[0]
    built = next((row for row in rows if row["Model Config Path"].endswith("_config_default")), None)
    for title, row in (("most images a second", best), ("as it is built", built)):
        if row is not None:
            logger.info(
                "%s: %s images/s, p99 %s ms, %s in flight (%s: max_batch_size %s, instances %s)",
                title, row["Throughput (infer/sec)"], row["p99 Latency (ms)"], row["Concurrency"],
                row["Model Config Path"], row["Max Batch Size"], row["Instance Group"],
            )  # fmt: skip
    logger.info("wrote %s", directory)


def _metrics_url(arguments: argparse.Namespace, endpoint: Endpoint) -> str:
    host = endpoint.url.rpartition(":")[0]
    return arguments.metrics_url or os.environ.get("TRITON_METRICS_URL") or f"http://{host}:{METRICS_PORT}/metrics"
