"""Every command's options. Each command imports what it needs when it runs, so help answers at once."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Sequence
from pathlib import Path

from client.commands import options
from console import numbers

Namespace = argparse.Namespace


def parser() -> argparse.ArgumentParser:
    """The command line of `python -m client`."""
    top = argparse.ArgumentParser(prog="python -m client", description="Measure models that Triton serves.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, add, text in (
        ("probe", _add_probe, "what a change of the batch size costs, in seconds; before any figure is believed"),
        ("check", _add_check, "whether every answer belongs to its image: alone, in every batch size, many in flight"),
        ("compare", _add_compare, "probe, check, accuracy, end to end, latency and the report, models side by side"),
        ("accuracy", _add_accuracy, "accuracy on the CIFAR-10 test images, models compared image by image"),
        ("latency", _add_latency, "latency and throughput, by batch size and load, models side by side"),
        ("end-to-end", _add_end_to_end, "wall time to classify the whole test set, models side by side"),
        ("perf-analyzer", _add_perf_analyzer, "the same with Triton's perf_analyzer, beside this client"),
        ("analyze", _add_analyze, "which configuration of a model is best, by NVIDIA's Model Analyzer"),
        (
            "reload",
            _add_reload,
            "have a server load what was published; the old version serves until the new one is ready",
        ),
        ("report", _add_report, "HTML, Markdown and CSV from results"),
    ):
        command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        add(command)
        command.set_defaults(run=_command(name))
    return top


def _command(name: str) -> Callable[[Namespace], None]:
    def call(arguments: Namespace) -> None:
        importlib.import_module(f"client.commands.{name.replace('-', '_')}").main(arguments)

    return call


def _add_probe(command: argparse.ArgumentParser) -> None:
    options.add_models(command)
    options.add_connection(command)


def _add_check(command: argparse.ArgumentParser) -> None:
    options.add_models(command, data=False)
    options.add_connection(command)
    command.add_argument(
        "--duration", type=numbers.seconds, default=20, help="seconds a model, at most (default: %(default)s)"
    )
    command.add_argument(
        "--concurrency",
        type=numbers.between(2),
        default=16,
        help="requests in flight: some faults come with several only (default: %(default)s)",
    )  # fmt: skip
    command.add_argument(
        "--reference", type=Path, metavar="FILE",
        help="right answers (default: those beside the model in --repository, else each image is asked alone first)",
    )  # fmt: skip
    _add_tolerance(command)
    command.add_argument("--seed", type=numbers.count, default=0, help="of the images' orders (default: %(default)s)")


def _add_compare(command: argparse.ArgumentParser) -> None:
    options.add_models(command, output=False)
    options.add_connection(command)
    _add_sweep(command, batch_sizes=(1, 8, 64))
    command.add_argument(
        "--concurrency", type=options.wholes, default=[1, 4], metavar="N[,N…]",
        help="requests in flight, of latency (default: 1,4)",
    )  # fmt: skip
    command.add_argument(
        "--check-duration", type=numbers.seconds, default=20, help="seconds a model, at most (default: %(default)s)"
    )
    _add_tolerance(command)
    command.add_argument(
        "--skip", choices=("probe", "check", "accuracy", "end-to-end", "latency"), action="append", default=[],
        help="leave this out; can be repeated",
    )  # fmt: skip
    command.add_argument(
        "--fallback-synthetic", action="store_true",
        help="where no dataset is found, compare with the reference answers instead of measuring accuracy",
    )  # fmt: skip
    command.add_argument("--run", type=Path, metavar="DIR", help="a training run, for its curves", dest="training")
    command.add_argument(
        "--output", type=Path, default=Path("results/compare"), help="directory (default: %(default)s)"
    )


def _add_tolerance(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--tolerance", type=options.positive_share, metavar="SHARE",
        help="0..1, of the largest logit, that a right answer may differ (default: 0.03, of INT8 and FP8 0.25)",
    )  # fmt: skip


def _add_accuracy(command: argparse.ArgumentParser) -> None:
    options.add_models(command)
    options.add_connection(command)
    _add_pass(command)
    command.add_argument(
        "--reference",
        nargs="?",
        const="beside the model",
        metavar="FILE",
        help="compare with PyTorch's answers too (default: those beside the model in --repository)",
    )
    command.add_argument("--labels-from-server", action="store_true", help="check the server's class names too")
    gates = command.add_argument_group("gates (exit code 2 when one says no)")
    gates.add_argument(
        "--min-agreement", type=options.share, default=0.0, metavar="SHARE",
        help="0..1, of images with the class of PyTorch and of the first model",
    )  # fmt: skip
    gates.add_argument(
        "--max-accuracy-drop", type=options.points, metavar="POINTS", help="percentage points below the first model"
    )
    without = command.add_mutually_exclusive_group()
    without.add_argument("--synthetic", action="store_true", help="no dataset: compare with --reference only")
    without.add_argument("--fallback-synthetic", action="store_true", help="the same, where no dataset is found")


def _add_latency(command: argparse.ArgumentParser) -> None:
    options.add_models(command)
    options.add_connection(command)
    _add_sweep(command)
    load = command.add_mutually_exclusive_group()
    load.add_argument(
        "--concurrency", type=options.wholes, metavar="N[,N…]", help="closed loop: requests in flight (default: 2)"
    )
    load.add_argument(
        "--rate", type=options.rates, metavar="R[,R…]",
        help="open loop: requests a second; latency counts from when each was due",
    )  # fmt: skip
    command.add_argument(
        "--probed", type=Path, metavar="FILE", help="what `probe` wrote about these models, instead of probing again"
    )
    command.add_argument(
        "--arrivals", choices=("poisson", "constant"), default="poisson", help="of an open loop (default: %(default)s)"
    )
    command.add_argument("--workers", type=numbers.whole, default=1, help="processes that send (default: %(default)s)")


def _add_end_to_end(command: argparse.ArgumentParser) -> None:
    options.add_models(command)
    options.add_connection(command)
    _add_pass(command)
    command.add_argument(
        "--rounds", type=numbers.whole, default=5, help="passes over the images by each model (default: %(default)s)"
    )


def _add_perf_analyzer(command: argparse.ArgumentParser) -> None:
    options.add_models(command)
    options.add_connection(command, transport=False)
    _add_sweep(command)
    command.add_argument(
        "--concurrency", type=options.wholes, default=[2], metavar="N[,N…]", help="requests in flight (default: 2)"
    )
    command.add_argument(
        "--binary", type=Path, metavar="FILE", help="perf_analyzer (default: on PATH, else .venv-server)"
    )
    command.add_argument("--docker", action="store_true", help="run it in NVIDIA's SDK container")


def _add_analyze(command: argparse.ArgumentParser) -> None:
    command.add_argument("--model", required=True, metavar="NAME", help="it is loaded anew with each configuration")
    options.add_connection(command, transport=False)
    command.add_argument(
        "--metrics-url", metavar="URL", help="Triton's metrics (default: $TRITON_METRICS_URL, or port 8002 of its host)"
    )
    command.add_argument(
        "--binary", type=Path, metavar="FILE", help="perf_analyzer (default: on PATH, else .venv-server)"
    )
    for name, default, text in (
        ("--max-batch-size", 64, "largest max_batch_size to try"),
        ("--max-instances", 2, "most instances to try"),
        ("--max-concurrency", 128, "most requests in flight"),
    ):
        command.add_argument(name, type=numbers.whole, default=default, help=f"{text} (default: %(default)s)")
    command.add_argument(
        "--concurrency-sweep", action="store_true",
        help="then measure the best configurations at every concurrency, for the report's curves",
    )  # fmt: skip
    command.add_argument(
        "--window",
        type=numbers.seconds,
        default=2,
        help="seconds of a window of perf_analyzer's (default: %(default)s)",
    )
    command.add_argument(
        "--limit",
        type=numbers.seconds,
        default=60,
        metavar="MINUTES",
        help="give up after these (default: %(default)s)",
    )
    command.add_argument("--output", type=Path, metavar="DIR", help="directory (default: results/analyze-MODEL)")


def _add_reload(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--model", action="append", metavar="NAME", help="can be repeated (default: every model the server has ready)"
    )
    options.add_connection(command, transport=False)
    command.add_argument(
        "--transport", choices=("grpc", "http"), default="grpc", help="how to ask the server (default: %(default)s)"
    )


def _add_report(command: argparse.ArgumentParser) -> None:
    command.add_argument("results", nargs="+", type=Path, metavar="RESULT.json", help="what the other commands wrote")
    command.add_argument("--run", type=Path, metavar="DIR", help="a training run, for its curves", dest="training")
    command.add_argument("--output", type=Path, default=Path("results/report"), help="directory (default: %(default)s)")


def _add_pass(command: argparse.ArgumentParser) -> None:
    command.add_argument("--batch-size", type=numbers.whole, default=64, help="images a request (default: %(default)s)")
    command.add_argument(
        "--concurrency", type=numbers.whole, default=2, help="requests in flight (default: %(default)s)"
    )
    command.add_argument("--limit", type=numbers.whole, metavar="N", help="the first N test images only")


def _add_sweep(command: argparse.ArgumentParser, batch_sizes: Sequence[int] = (64,)) -> None:
    listed = ",".join(str(size) for size in batch_sizes)
    command.add_argument(
        "--batch-sizes", type=options.wholes, default=list(batch_sizes), metavar="N[,N…]", help=f"default: {listed}"
    )
    command.add_argument(
        "--rounds", type=numbers.whole, default=5, help="windows of each model and load (default: %(default)s)"
    )
    command.add_argument("--duration", type=numbers.seconds, default=2, help="seconds a window (default: %(default)s)")
