"""What a person sees while a network trains."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from builder.training.history import EpochRecord


class TrainingDisplay:
    """A bar over all updates of the run, with the figures of the last epoch beside it."""

    def __init__(self, progress: Progress, task: TaskID, epochs: int, done: int) -> None:
        self._progress = progress
        self._task = task
        self._epochs = epochs
        self._done = done

    def update(self, update: int, updates: int, loss: float) -> None:
        """Show the state inside an epoch."""
        self._progress.update(self._task, completed=self._done + update / updates, loss=f"{loss:.3f}")

    def epoch(self, record: EpochRecord, images: int) -> None:
        """Print an epoch's line; `images` were trained on in it."""
        self._done = record.epoch
        self._progress.update(self._task, completed=record.epoch)
        self._progress.console.print(
            f"epoch {record.epoch:3d}/{self._epochs}  train loss {record.train_loss:.4f}  "
            f"train {100 * record.train_accuracy:5.2f} %  test {100 * record.test_accuracy:5.2f} %  "
            f"{images / record.seconds:,.0f} images/s",
            highlight=False,
        )


@contextmanager
def training_progress(epochs: int, done: int) -> Iterator[TrainingDisplay]:
    """Show progress on standard error; off a terminal only the epoch lines appear."""
    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]}"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("training", total=epochs, completed=done, loss="-")
        yield TrainingDisplay(progress, task, epochs, done)
