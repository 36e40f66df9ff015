"""Tables on the terminal, made from a result's JSON."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def print_accuracy(result: dict[str, Any]) -> None:
    """Show what `accuracy` measured."""
    from rich.table import Table

    model, server = result["model"], result["server"]
    table = Table(title=f"{model['name']} version {model['version']} on Triton {server['version']} ({server['url']})")
    table.add_column("")
    table.add_column("", justify="right")
    if accuracy := result["accuracy"]:
        table.add_row("test images", f"{accuracy['total']:,} ({result['data']['name']})")
        table.add_row("correct", f"{accuracy['count']:,}")
        table.add_row("accuracy", f"{100 * accuracy['value']:.2f} %")
        table.add_row("95 % interval (Wilson)", f"{100 * accuracy['low']:.2f} - {100 * accuracy['high']:.2f} %")
        table.add_row("throughput", f"{result['images_per_second']:,.0f} images/s")
    if reference := result["reference"]:
        table.add_row("synthetic images compared with PyTorch", f"{reference['images']:,}")
        table.add_row("same class as PyTorch", f"{100 * reference['top1_agreement']:.2f} %")
        table.add_row("largest logit difference", f"{reference['max_abs_difference']:.1e}")
    _print(table)


def print_latency(result: dict[str, Any]) -> None:
    """Show what `latency` measured."""
    from rich.table import Table

    model, server, settings = result["model"], result["server"], result["settings"]
    table = Table(
        title=f"{model['name']} version {model['version']} on Triton {server['version']} ({server['url']})",
        caption=f"gRPC, closed loop, {settings['seconds']:g} s a row, {result['data']['name']}; latency in ms",
    )
    columns = ("batch", "in flight", "p50", "p90", "p95", "p99", "images/s", "requests", "rejected", "failed")
    for column in columns:
        table.add_column(column, justify="right")
    for row in result["rows"]:
        latency = row["latency_ms"]
        percentiles = (f"{latency[name]:.2f}" for name in ("p50", "p90", "p95", "p99"))
        counts = (str(row[name]) for name in ("requests", "rejected", "failed"))
        rate = f"{row['images_per_second']:,.0f}"
        table.add_row(str(row["batch_size"]), str(row["concurrency"]), *percentiles, rate, *counts)
    _print(table)


@contextmanager
def progress_bar(description: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show progress on standard error where that is a terminal; yields a function that takes the number done."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(description, total=total)
        yield lambda done: progress.update(task, completed=done)


def _print(table: Any) -> None:
    from rich.console import Console

    console = Console()
    if not console.is_terminal:  # a file or a pipe has no width to fit into
        console = Console(width=120)
    console.print(table)
