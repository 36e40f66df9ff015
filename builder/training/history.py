"""What a training run leaves for a reader: history.json and curves.png."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from console.files import write_atomically


@dataclass(frozen=True)
class EpochRecord:
    """One epoch.

    Attributes:
        epoch: counted from 1.
        train_loss: mean over the epoch's updates, on augmented images, as optimised (smoothed or mixed targets).
        train_accuracy: on the same augmented images, 0..1; against the main label when targets are mixed.
        test_loss: cross-entropy on the untouched test images.
        test_accuracy: top-1 on the untouched test images, 0..1.
        learning_rate: of the epoch's last update.
        seconds: wall time of the epoch's training, the test excluded.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    learning_rate: float
    seconds: float


def write_history(path: Path, about: dict[str, Any], records: Sequence[EpochRecord]) -> None:
    """Write the run's description and its epochs as JSON, atomically."""
    content = {**about, "epochs": [dataclasses.asdict(record) for record in records]}
    write_atomically(path, json.dumps(content, indent=2) + "\n")


def write_curves(path: Path, title: str, records: Sequence[EpochRecord]) -> None:
    """Plot training loss and test accuracy over the epochs as a PNG 1600 pixels wide.

    One epoch has no curve: its points are marked, so that a short run still shows something.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(10, 4.2), dpi=160, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=13)
    epochs = [record.epoch for record in records]
    marker = "o" if len(records) < 15 else ""
    loss, accuracy = figure.subplots(1, 2)
    loss.plot(epochs, [record.train_loss for record in records], color="#b3541e", marker=marker)
    loss.set(xlabel="Epoch", ylabel="Training loss (as optimised, nats)")
    percent = [100 * record.test_accuracy for record in records]
    accuracy.plot(epochs, percent, color="#1f5fa8", marker=marker)
    accuracy.set(xlabel="Epoch", ylabel="Test accuracy (%)")
    # Far enough below the last point to stay clear of the curve that leads up to it.
    accuracy.annotate(
        f"{percent[-1]:.2f} %\nafter epoch {epochs[-1]}",
        (epochs[-1], percent[-1]),
        textcoords="offset points",
        xytext=(0, -70),
        ha="right",
        arrowprops={"arrowstyle": "-", "color": "0.6"},
    )
    for axes in (loss, accuracy):
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    write_atomically(path, buffer.getvalue())
