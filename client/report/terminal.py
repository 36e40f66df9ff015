"""Tables on the terminal, made from a result's JSON."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from client.statistics import formatting

if TYPE_CHECKING:
    from collections.abc import Callable


_NARROW = {130: ("p90", "p95", "mean batch", "requests"), 105: ("queue", "compute", "outside")}
"""What a terminal of fewer columns does without; the result's JSON and the report have it all."""

_LATENCY_COLUMNS = (
    "batch", "load", "p50", "p90", "p95", "p99", "queue", "compute", "outside", "mean batch", "images/s", "requests",
)  # fmt: skip


def print_accuracy(result: dict[str, Any]) -> None:
    """Show what `accuracy` measured: a column for each model."""
    from rich.table import Table

    models = result["models"]
    table = Table(title=formatting.title(result), caption=result["data"]["name"])
    table.add_column("")
    for model in models:
        table.add_column(formatting.versioned(model), justify="right")
    for label, cells in formatting.accuracy_rows(models):
        table.add_row(label, *cells)
    _print(table)


def print_latency(result: dict[str, Any]) -> None:
    """Show what `latency` measured: client's time, server's time, ratios, and what is doubtful."""
    from rich.table import Table

    settings = result["settings"]
    caption = (
        f"{settings['transport']}, {settings['rounds']} rounds of {settings['duration']:g} s, {result['data']['name']};"
        " p50 to p99: client's latency; queue, compute, outside the server: means a request; in ms"
    )
    models = [model["name"] for model in result["models"]]
    single = formatting.versioned(result["models"][0]) + " on " if len(models) == 1 else ""
    table = Table(title=single + formatting.title(result), caption=caption)
    dropped = {name for width, names in _NARROW.items() if _console().width < width for name in names}
    for column in ("model", *_LATENCY_COLUMNS):
        if column not in dropped and not (single and column == "model"):
            table.add_column(column, justify="left" if column == "model" else "right", no_wrap=True)
    shown = [column.header for column in table.columns]
    for row in result["rows"]:
        cells = {"model": row["model"], **dict(zip(_LATENCY_COLUMNS, _latency_cells(row), strict=True))}
        table.add_row(*(cells[str(column)] for column in shown))
    _print(table)
    for ratio in result["ratios"]:
        _say(
            f"{ratio['model']} against {ratio['baseline']}, batch {ratio['batch_size']}, {formatting.load(ratio)}: "
            f"throughput {formatting.times(ratio['throughput'])}, "
            f"median latency {formatting.times(ratio['p50_speedup'])} faster"
        )
    _print_warnings(result)


def print_probe(result: dict[str, Any]) -> None:
    """Show what `probe` measured."""
    from rich.table import Table

    caption = f"one request in flight; ms an execution, by the server's counters; {result['data']['name']}"
    table = Table(title=formatting.title(result), caption=caption)
    for column in formatting.PROBE_COLUMNS:
        table.add_column(column, justify="left" if column == "model" else "right")
    for cells in formatting.probe_rows(result["rows"]):
        table.add_row(*cells)
    _print(table)
    _print_warnings(result)


def print_end_to_end(result: dict[str, Any]) -> None:
    """Show what `end-to-end` measured."""
    from rich.table import Table

    settings = result["settings"]
    caption = (
        f"{settings['transport']}, batch {settings['batch_size']}, {settings['concurrency']} in flight, "
        f"{settings['rounds']} rounds; {result['data']['name']}"
    )
    table = Table(title=f"{result['data']['images']:,} images on {formatting.title(result)}", caption=caption)
    for column in ("model", "seconds", "images/s"):
        table.add_column(column, justify="left" if column == "model" else "right")
    for row in result["rows"]:
        table.add_row(row["model"], formatting.interval(row["seconds"]), f"{row['images_per_second']:,.0f}")
    _print(table)
    for ratio in result["ratios"]:
        _say(f"{ratio['model']} against {ratio['baseline']}: {formatting.times(ratio['speedup'])} faster")
    _print_warnings(result)


def print_perf_analyzer(result: dict[str, Any]) -> None:
    """Show perf_analyzer's figures and this client's, row by row."""
    from rich.table import Table

    settings = result["settings"]
    caption = f"gRPC, {result['data']['name']}; perf_analyzer: {settings['binary']}; latency in ms"
    table = Table(title=formatting.title(result), caption=caption)
    for column in ("model", "batch", "in flight", "measured by", "p50", "p90", "p95", "p99", "queue", "compute",
                   "images/s", "of perf_analyzer's"):  # fmt: skip
        table.add_column(column, justify="left" if column in ("model", "measured by") else "right")
    for row in result["rows"]:
        for name, measured in (("perf_analyzer", row["perf_analyzer"]), ("client", row["client"])):
            if measured is None:
                continue
            latency, server = measured["latency_ms"], measured["server"]
            figures = (
                *(latency[key] for key in ("p50", "p90", "p95", "p99")),
                server["queue_ms"],
                formatting.compute(server),
            )
            share = f"{row['client_share']:.0%}" if name == "client" and row["client_share"] else ""
            table.add_row(
                row["model"], str(row["batch_size"]), str(row["concurrency"]), name,
                *(formatting.number(figure) for figure in figures),
                formatting.rate(measured["images_per_second"]), share,
            )  # fmt: skip
    _print(table)
    _print_warnings(result)


def print_check(result: dict[str, Any]) -> None:
    """Show what `check` found: a row for each model and phase, and a line for each model."""
    from rich.table import Table

    settings = result["settings"]
    caption = f"{settings['transport']}, up to {settings['duration']:g} s a model; each row of each answer is looked at"
    table = Table(title=formatting.title(result), caption=caption)
    for column in formatting.CHECK_COLUMNS:
        table.add_column(column, justify="left" if column in ("model", "requests") else "right")
    for row in formatting.check_rows(result):
        table.add_row(*row)
    _print(table)
    _print_warnings(result)
    for check in result["checks"]:
        for text in formatting.check_sentences(check):
            _say(text, style="green" if check["passed"] else "bold red")


@contextmanager
def progress_bar(description: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show progress on standard error where that is a terminal; yields a function that takes the number done."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(description, total=total)
        yield lambda done: progress.update(task, completed=done)


def _latency_cells(row: dict[str, Any]) -> list[str]:
    latency, server = row["latency_ms"], row["server"]
    times = [*(latency[name] for name in ("p50", "p90", "p95", "p99")), server["queue_ms"], formatting.compute(server)]
    return [
        str(row["batch_size"]),
        formatting.load(row),
        *(formatting.number(time) for time in (*times, row["outside_server_ms"])),
        formatting.number(server["mean_batch"]),
        formatting.interval(row["images_per_second"]),
        formatting.requests(row),
    ]


def _print_warnings(result: dict[str, Any]) -> None:
    if not result["complete"]:
        _say(f"INCOMPLETE: {result['stopped_by']}", style="bold red")
    for warning in result["warnings"]:
        _say(f"warning: {warning}", style="yellow")


def _say(text: str, style: str | None = None) -> None:
    _console().print(text, style=style, highlight=False, soft_wrap=True)


def _print(table: Any) -> None:
    _console().print(table)


def _console() -> Any:
    from rich.console import Console

    console = Console()
    # a file or a pipe has no width to fit into
    return console if console.is_terminal else Console(width=150)
