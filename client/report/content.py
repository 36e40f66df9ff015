"""What a report says: a verdict, sections with tables and plots, and the warnings; independent of how it is written."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from client.report import plots
from client.report.claim import claim
from client.report.claim import table as claim_table
from client.report.grid import grid
from client.report.verdict import verdict
from client.statistics import formatting
from console.triton_configuration import sentence


@dataclass(frozen=True)
class Table:
    """Rows of text under column titles; the first column holds the rows' names.

    Attributes:
        columns: titles.
        rows: as many cells each.
        caption: how it was measured.
    """

    columns: list[str]
    rows: list[list[str]]
    caption: str = ""


@dataclass(frozen=True)
class Section:
    """A part of the report.

    Attributes:
        title: its heading.
        tables: in order.
        plots: (what it shows, SVG) in order.
        note: a sentence before them.
        folded: whether a reader opens it to see it.
    """

    title: str
    tables: list[Table] = dataclasses.field(default_factory=list)
    plots: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    note: str = ""
    folded: bool = False


@dataclass(frozen=True)
class Report:
    """A whole report.

    Attributes:
        title: of the page.
        verdict: the answer in one sentence or two.
        faults: models whose answers are wrong, and how; empty when none are.
        incomplete: why a measurement ended early; empty when none did.
        warnings: what is not to be trusted.
        sections: in order.
    """

    title: str
    verdict: str
    faults: list[str]
    incomplete: list[str]
    warnings: list[str]
    sections: list[Section]


def report(results: list[dict[str, Any]], training: dict[str, Any] | None = None) -> Report:
    """Put results together.

    Args:
        results: what the measuring commands wrote, at least one.
        training: a training run's history, for its curves.
    """
    results = sorted(results, key=lambda result: list(_SECTIONS).index(result["command"]))
    sections = [_SECTIONS[result["command"]](result) for result in results]
    if table := grid(results):
        note = "Across a row the engine changes and the precision stays; down a column the precision changes."
        sections.append(Section("Engine and precision", [Table(*table)], note=note))
    if training is not None:
        sections.append(_training(training))
    if closing := claim(results):
        sections.append(Section("The claim", [Table(*claim_table(results))], note=closing))
    sections.append(_environment(results))
    names = list(dict.fromkeys(model["name"] for result in results for model in result["models"]))
    return Report(
        title=" and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names) + " on Triton",
        verdict=verdict(results),
        faults=[text for result in results for text in formatting.faults(result)],
        incomplete=[f"{result['command']}: {result['stopped_by']}" for result in results if not result["complete"]],
        warnings=_each_once([warning for result in results for warning in result.get("warnings", [])]),
        sections=sections,
    )


def _check(result: dict[str, Any]) -> Section:
    settings = result["settings"]
    caption = (
        f"{settings['transport']}, up to {settings['duration']:g} s a model: known images in orders that never repeat, "
        "in every batch size; each row of each answer is held against its own image's logits, then the other images'."
    )
    tables = [Table(list(formatting.CHECK_COLUMNS), formatting.check_rows(result), caption)]
    tables.append(Table(["model", "found"], [[check["model"], " · ".join(formatting.check_sentences(check))]
                                             for check in result["checks"]]))  # fmt: skip
    return Section("Whether answers belong to their images", tables)


def _each_once(warnings: list[str]) -> list[str]:
    """Without repetitions, and without what another warning says and adds to."""
    return [
        text
        for text in dict.fromkeys(warnings)
        if not any(other != text and other.startswith(text) for other in warnings)
    ]


def _accuracy(result: dict[str, Any]) -> Section:
    models = result["models"]
    names = [model["name"] for model in models]
    rows = [[label, *cells] for label, cells in formatting.accuracy_rows(models)]
    data = result["data"]
    tables = [Table(["", *names], rows, f"{data['name']}, one view an image, through Triton.")]
    scored = [model for model in models if model["accuracy"]]
    if scored:
        classes = [entry["name"] for entry in scored[0]["per_class"]]
        per_class = [
            [name, *(formatting.proportion(model["per_class"][index]) for model in scored)]
            for index, name in enumerate(classes)
        ]
        tables.append(Table(["class", *(model["name"] for model in scored)], per_class, "Accuracy by class."))
    shown = [
        (f"Confusion matrix of {model['name']}: true classes by row, answers by column, in % of the row",
         plots.confusion(model["confusion"]))
        for model in scored
    ]  # fmt: skip
    title = "Accuracy" if scored else "Agreement with PyTorch"
    return Section(title, tables, shown)


def _latency(result: dict[str, Any]) -> Section:
    settings, rows = result["settings"], result["rows"]
    several = len({row["model"] for row in rows}) > 1
    table = [
        [
            f"{row['model'] + ', ' if several else ''}batch {row['batch_size']}, {formatting.load(row)}",
            *(formatting.number(row["latency_ms"][name]) for name in ("p50", "p90", "p95", "p99")),
            formatting.number(row["server"]["queue_ms"]),
            formatting.number(formatting.compute(row["server"])),
            formatting.number(row["outside_server_ms"]),
            formatting.number(row["server"]["mean_batch"]),
            formatting.interval(row["images_per_second"]),
            formatting.requests(row),
        ]
        for row in rows
    ]
    columns = ["load", "p50", "p90", "p95", "p99", "queue", "compute", "outside", "mean batch", "images/s", "requests"]
    caption = (
        f"Times in ms. {settings['transport']}, {settings['rounds']} rounds of {settings['duration']:g} s for each "
        f"model in turn, {result['data']['name']}. p50 to p99: the client's latency. Queue and compute: Triton's own "
        "means a request. Outside: the client's mean less the server's. In brackets: 95 % interval over the rounds."
    )
    tables = [Table(columns, table, caption)]
    if result["ratios"]:
        ratios = [
            [f"batch {ratio['batch_size']}, {formatting.load(ratio)}", f"{ratio['model']} / {ratio['baseline']}",
             formatting.times(ratio["throughput"]), formatting.times(ratio["p50_speedup"])]
            for ratio in result["ratios"]
        ]  # fmt: skip
        tables.append(
            Table(["load", "models", "throughput", "p50, times faster"], ratios,
                  "Models measured side by side in rounds; bootstrap interval over the rounds.")
        )  # fmt: skip
    shown = [
        ("Throughput, with its 95 % interval", plots.throughput(rows)),
        ("Median latency (full line) and 99th percentile (dashed)", plots.latency(rows)),
        ("Where a request spends its time; labels: batch size x load, mean latency", plots.breakdown(rows)),
    ]
    return Section("Latency and throughput", tables, shown)


def _probe(result: dict[str, Any]) -> Section:
    rows = formatting.probe_rows(result["rows"])
    caption = "ms an execution by the server's counters, medians; each size several times in a row, sizes in turn."
    note = "Does a server compute longer because the batch size differs from the execution before?"
    return Section("When the batch size changes", [Table(formatting.PROBE_COLUMNS, rows, caption)], note=note)


def _end_to_end(result: dict[str, Any]) -> Section:
    settings = result["settings"]
    rows = [
        [row["model"], formatting.interval(row["seconds"]), formatting.number(row["images_per_second"])]
        for row in result["rows"]
    ]
    caption = (
        f"{result['data']['images']:,} images ({result['data']['name']}) over {settings['transport']}, batch "
        f"{settings['batch_size']}, {settings['concurrency']} in flight, {settings['rounds']} rounds in turn."
    )
    tables = [Table(["model", "seconds", "images/s"], rows, caption)]
    if result["ratios"]:
        ratios = [
            [f"{ratio['model']} / {ratio['baseline']}", formatting.times(ratio["speedup"])]
            for ratio in result["ratios"]
        ]
        tables.append(Table(["models", "times faster"], ratios))
    return Section("End to end", tables)


def _perf_analyzer(result: dict[str, Any]) -> Section:
    rows = []
    for row in result["rows"]:
        for name, measured in (("perf_analyzer", row["perf_analyzer"]), ("this client", row["client"])):
            if measured is None:
                continue
            latency, server = measured["latency_ms"], measured["server"]
            rows.append(
                [
                    formatting.measured(row),
                    name,
                    *(formatting.number(latency[key]) for key in ("p50", "p90", "p95", "p99")),
                    formatting.number(server["queue_ms"]),
                    formatting.number(formatting.compute(server)),
                    formatting.rate(measured["images_per_second"]),
                ]
            )
    columns = ["load", "measured by", "p50", "p90", "p95", "p99", "queue", "compute", "images/s"]
    caption = f"Times in ms; gRPC, {result['data']['name']}; each load by perf_analyzer, then by this client."
    return Section("Beside perf_analyzer", [Table(columns, rows, caption)])


def _training(training: dict[str, Any]) -> Section:
    epochs, about = training["epochs"], training.get("metadata", {})
    last = epochs[-1]
    note = (
        f"Recipe {about.get('recipe', '?')}, seed {about.get('seed', '?')}, {about.get('dataset', 'unknown images')}: "
        f"{100 * last['test_accuracy']:.2f} % after {last['epoch']} epochs, in the precision of the training."
    )
    shown = [
        ("Training loss (cross-entropy, nats) by epoch", plots.training_loss(epochs)),
        ("Test accuracy (%) by epoch", plots.test_accuracy(epochs)),
    ]
    return Section("Training", [], shown, note)


def _machine(found: dict[str, Any]) -> str:
    """Processor with its best extension for 8-bit kernels, which decides what INT8 wins, and the GPUs."""
    extensions = "".join(f" with {name}" for name in found.get("instruction_set", [])[:1])
    return f"{found['cpu']}{extensions}, {found['cores']} cores" + "".join(f"; {gpu}" for gpu in found["gpus"])


def _environment(results: list[dict[str, Any]]) -> Section:
    rows = []
    for result in results:
        machine, server = result["environment"], result["server"]
        rows.append(
            [
                result["command"],
                result["created"].replace("T", " ").replace("+00:00", " UTC"),
                f"{server['name']} {server['version']}" if server else "-",
                _machine(machine),
                ", ".join(f"{name} {version}" for name, version in machine["packages"].items()),
                (machine["git_revision"] or "-")[:12],
            ]
        )
    columns = ["measured", "when", "server", "client's machine", "packages", "revision"]
    models: dict[str, list[str]] = {}
    for model in (model for result in results for model in result["models"]):
        source = model["provenance"] or {}
        models[formatting.versioned(model)] = [
            model["platform"] or "-",
            sentence(model["configuration"]) if model.get("configuration") else "-",
            source.get("precision") or "-",
            (model["sha256"] or "-")[:16],
            (source.get("checkpoint") or {}).get("sha256", "-")[:16],
        ]
    described = [[name, *cells] for name, cells in models.items()]
    tables = [
        Table(columns, rows),
        Table(
            ["model", "platform", "configuration", "precision", "SHA-256 of the model", "of the checkpoint"], described
        ),
    ]
    return Section("Environment", tables, folded=True)


_SECTIONS = {
    "check": _check,
    "probe": _probe,
    "accuracy": _accuracy,
    "end-to-end": _end_to_end,
    "latency": _latency,
    "perf-analyzer": _perf_analyzer,
}
