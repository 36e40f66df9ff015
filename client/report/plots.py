"""Plots as SVG that takes its ink from the page, so that one drawing serves light, dark and print."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from io import StringIO
from typing import TYPE_CHECKING, Any

import numpy as np

from cifar10 import CLASS_NAMES
from client.statistics import formatting

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLORS = ("#2f80c2", "#e08a1e", "#159a76", "#c0629a", "#7a6fd0", "#9a8c1f")
"""Told apart by the colour-blind and on either background (after Okabe and Ito)."""

_MARKERS = "osD^vP"
_INK = "#010203"  # stands for the page's text colour, and is replaced by it
_LOADS = ("batch_size", "concurrency", "rate")
_AXIS_NAMES = {
    "batch_size": "Batch size (images a request)",
    "concurrency": "Requests in flight",
    "rate": "Requests a second",
}


def throughput(rows: Sequence[dict[str, Any]]) -> str:
    """Images a second over the load, a line for each model, with intervals."""
    axes, done = _figure(3.1)
    axis = _axis(rows)
    for number, (label, series) in enumerate(_series(rows, axis)):
        rates = [row["images_per_second"] for row in series]
        values = np.array([rate["value"] for rate in rates])
        errors = [
            [0 if rate["low"] is None else rate["value"] - rate["low"] for rate in rates],
            [0 if rate["high"] is None else rate["high"] - rate["value"] for rate in rates],
        ]
        axes.errorbar(
            [row[axis] for row in series], values, np.maximum(errors, 0), label=label, capsize=3, **_line_style(number)
        )
    _load_axis(axes, rows, axis)
    axes.set_ylabel("Images a second")
    axes.yaxis.set_major_formatter(_plain)
    axes.set_ylim(bottom=0)
    return done()


def latency(rows: Sequence[dict[str, Any]]) -> str:
    """p50 and p99 over the load, in ms."""
    from matplotlib.ticker import LogLocator, NullLocator

    axes, done = _figure(3.1)
    axis = _axis(rows)
    for number, (label, series) in enumerate(_series(rows, axis)):
        places = [row[axis] for row in series]
        axes.plot(places, [row["latency_ms"]["p50"] for row in series], label=label, **_line_style(number))
        axes.plot(places, [row["latency_ms"]["p99"] for row in series], **{**_line_style(number), "linestyle": "--"})
    _load_axis(axes, rows, axis)
    axes.set_ylabel("Latency (ms)")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(_plain)
    axes.yaxis.set_minor_locator(NullLocator())
    return done()


def breakdown(rows: Sequence[dict[str, Any]]) -> str:
    """Mean time of a request in the queue, in the parts of the computation, and outside the server, as shares."""
    axes, done = _figure(0.9 + 0.42 * len(rows))
    parts = {
        "queue": [row["server"]["queue_ms"] for row in rows],
        "compute input": [row["server"]["compute_input_ms"] for row in rows],
        "compute infer": [row["server"]["compute_infer_ms"] for row in rows],
        "compute output": [row["server"]["compute_output_ms"] for row in rows],
        "outside the server": [max(row["outside_server_ms"], 0) for row in rows],
    }
    total = np.maximum(np.sum(list(parts.values()), axis=0), 1e-9)
    left = np.zeros(len(rows))
    places = np.arange(len(rows))[::-1]
    for (name, values), color in zip(parts.items(), _COLORS, strict=False):
        share = 100 * np.array(values) / total
        axes.barh(places, share, 0.62, left, label=name, color=color)
        left += share
    several = len({row["model"] for row in rows}) > 1
    names = [f"{row['model'] + ', ' if several else ''}{row['batch_size']} x {_short(row)}" for row in rows]
    axes.set_yticks(places, [f"{name}\n{formatting.number(ms)} ms" for name, ms in zip(names, total, strict=True)])
    axes.set(xlabel="Share of the mean latency (%)", xlim=(0, 100))
    axes.grid(visible=False, axis="y")
    return done(legend_columns=3)


def confusion(matrix: Sequence[Sequence[int]]) -> str:
    """A confusion matrix in % of each true class."""
    axes, done = _figure(4.2)
    counts = np.array(matrix, float)
    share = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    for row, column in np.ndindex(share.shape):
        if share[row, column] >= 0.05:
            color = _COLORS[0] if row == column else _COLORS[1]
            strength = min(share[row, column] / (100 if row == column else 20), 1)
            axes.add_patch(_square(column, row, color, 0.12 + 0.6 * strength))
            text = f"{share[row, column]:.0f}" if share[row, column] >= 9.95 else f"{share[row, column]:.1f}"
            axes.text(column, row, text, ha="center", va="center", fontsize=7.5, color=_INK)
    axes.set(xlim=(-0.5, 9.5), ylim=(9.5, -0.5), xlabel="Answer", ylabel="True class")
    axes.set_xticks(range(10), CLASS_NAMES, rotation=45, ha="right")
    axes.set_yticks(range(10), CLASS_NAMES)
    axes.grid(visible=False)
    return done()


def training_loss(epochs: Sequence[dict[str, Any]]) -> str:
    """Training loss over the epochs."""
    axes, done = _figure(2.8)
    axes.plot([epoch["epoch"] for epoch in epochs], [epoch["train_loss"] for epoch in epochs], color=_COLORS[1])
    axes.set(xlabel="Epoch", ylabel="Training loss (nats)")
    return done()


def test_accuracy(epochs: Sequence[dict[str, Any]]) -> str:
    """Test accuracy over the epochs."""
    axes, done = _figure(2.8)
    values = [100 * epoch["test_accuracy"] for epoch in epochs]
    axes.plot([epoch["epoch"] for epoch in epochs], values, color=_COLORS[0])
    axes.set(xlabel="Epoch", ylabel="Test accuracy (%)")
    return done()


_figures = 0


def _figure(height: float) -> tuple[Axes, Callable[..., str]]:
    """Axes on a figure 5 inches wide, and a function that turns it into SVG."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    style: dict[Any, Any] = dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _INK
    )
    style |= {"svg.fonttype": "none", "font.size": 10, "font.family": "sans-serif", "legend.frameon": False}
    with rc_context(style):
        figure = Figure(figsize=(5, height), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.subplots()
    axes.grid(alpha=0.25, color=_INK, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)

    def done(legend_columns: int = 2) -> str:
        handles, _ = axes.get_legend_handles_labels()
        with rc_context(style):
            if len(handles) > 1:
                figure.legend(loc="outside upper left", ncols=legend_columns, fontsize=9, handlelength=1.4)
            text = StringIO()
            figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
        return _embeddable(text.getvalue())

    return axes, done


def _embeddable(svg: str) -> str:
    """Only the <svg> element; the page's ink; identifiers that no other plot on the page has."""
    global _figures
    _figures += 1
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = svg.replace(_INK, "currentColor")
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>p{_figures}-", svg)
    opening = re.sub(r' (width|height)="[^"]*"', "", svg[: svg.index(">")])  # the page gives it its size
    return opening + svg[svg.index(">") :]


def _line_style(number: int) -> dict[str, Any]:
    return {"color": _COLORS[number % 6], "marker": _MARKERS[number % 6], "markersize": 5, "linewidth": 1.6}


def _square(x: float, y: float, color: str, alpha: float) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x - 0.5, y - 0.5), 1, 1, color=color, alpha=alpha, linewidth=0)


def _axis(rows: Sequence[dict[str, Any]]) -> str:
    """The part of the load with the most values goes along the axis."""
    return max(_LOADS, key=lambda name: len({row[name] for row in rows} - {None}))


def _series(rows: Sequence[dict[str, Any]], axis: str) -> list[tuple[str, list[dict[str, Any]]]]:
    """Rows that make a line: the same model and the same load but for the axis; labelled by what tells them apart."""
    others = [name for name in _LOADS if name != axis]
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["model"], *(row[name] for name in others)), []).append(row)
    varied = [name for name in others if len({row[name] for row in rows}) > 1]
    labelled = []
    for (model, *_), members in groups.items():
        text = {"batch_size": "batch {:g}", "concurrency": "{:g} in flight", "rate": "{:g} requests/s"}
        parts = [text[name].format(members[0][name]) for name in varied if members[0][name] is not None]
        labelled.append((", ".join([model, *parts]), sorted(members, key=lambda row: row[axis])))
    return labelled


def _load_axis(axes: Axes, rows: Sequence[dict[str, Any]], axis: str) -> None:
    places = sorted({row[axis] for row in rows})
    if len(places) > 1:
        axes.set_xscale("log", base=2)
    axes.set_xticks(places, [f"{place:g}" for place in places], minor=False)
    axes.minorticks_off()
    axes.set_xlabel(_AXIS_NAMES[axis])


def _plain(value: float, _: float) -> str:
    return f"{value:,g}" if value < 1e6 else f"{value:,.0f}"


def _short(row: dict[str, Any]) -> str:
    return f"{row['concurrency']}" if row["concurrency"] else f"{row['rate']:g}/s"
