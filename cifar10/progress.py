"""A progress bar on stderr, for people: nothing where stderr is a file or a pipe."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def progress(description: str, total: int, *, unit_bytes: bool = False) -> Iterator[Callable[[int], None]]:
    """Show a bar while the block runs.

    Args:
        description: what is being done.
        total: how many units there are.
        unit_bytes: the units are bytes: show megabytes and the rate.

    Yields:
        A function to call with the number of units just done.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    counts = (DownloadColumn(), TransferSpeedColumn()) if unit_bytes else (MofNCompleteColumn(),)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *counts,
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    with bar:
        task = bar.add_task(description, total=total)
        yield lambda units: bar.update(task, advance=units)
