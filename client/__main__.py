"""`python -m client`: the command line. Each command imports what it needs when it runs, so help answers at once."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable
from pathlib import Path

from client import options
from console import run

Namespace = argparse.Namespace


def parser() -> argparse.ArgumentParser:
    """The command line of `python -m client`."""
    top = argparse.ArgumentParser(prog="python -m client", description="Measure models that Triton serves.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, add, text in (
        ("accuracy", _add_accuracy, "accuracy on the CIFAR-10 test images, models compared image by image"),
        ("latency", _add_latency, "latency and throughput, by batch size and load, models side by side"),
        ("end-to-end", _add_end_to_end, "wall time to classify the whole test set, models side by side"),
        ("perf-analyzer", _add_perf_analyzer, "the same with Triton's perf_analyzer, beside this client"),
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
        "--arrivals", choices=("poisson", "constant"), default="poisson", help="of an open loop (default: %(default)s)"
    )
    command.add_argument("--workers", type=options.whole, default=1, help="processes that send (default: %(default)s)")


def _add_end_to_end(command: argparse.ArgumentParser) -> None:
    options.add_models(command)
    options.add_connection(command)
    _add_pass(command)
    command.add_argument(
        "--rounds", type=options.whole, default=5, help="passes over the images by each model (default: %(default)s)"
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


def _add_report(command: argparse.ArgumentParser) -> None:
    command.add_argument("results", nargs="+", type=Path, metavar="RESULT.json", help="what the other commands wrote")
    command.add_argument("--run", type=Path, metavar="DIR", help="a training run, for its curves", dest="training")
    command.add_argument("--output", type=Path, default=Path("results/report"), help="directory (default: %(default)s)")


def _add_pass(command: argparse.ArgumentParser) -> None:
    command.add_argument("--batch-size", type=options.whole, default=64, help="images a request (default: %(default)s)")
    command.add_argument(
        "--concurrency", type=options.whole, default=2, help="requests in flight (default: %(default)s)"
    )
    command.add_argument("--limit", type=options.whole, metavar="N", help="the first N test images only")


def _add_sweep(command: argparse.ArgumentParser) -> None:
    command.add_argument("--batch-sizes", type=options.wholes, default=[64], metavar="N[,N…]", help="default: 64")
    command.add_argument(
        "--rounds", type=options.whole, default=5, help="windows of each model and load (default: %(default)s)"
    )
    command.add_argument("--duration", type=options.seconds, default=2, help="seconds a window (default: %(default)s)")


if __name__ == "__main__":
    sys.exit(run(parser()))
