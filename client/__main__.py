"""`python -m client`: the command line. Each command imports what it needs when it runs, so help answers at once."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from console import run

DEFAULT_URL = "127.0.0.1:8001"


def parser() -> argparse.ArgumentParser:
    """The command line of `python -m client`."""
    top = argparse.ArgumentParser(prog="python -m client", description="Measure a model that Triton serves.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_accuracy(commands.add_parser("accuracy", help="accuracy on the CIFAR-10 test images"))
    _add_latency(commands.add_parser("latency", help="latency and throughput in a closed loop"))
    return top


def _add_accuracy(command: argparse.ArgumentParser) -> None:
    _add_common(command)
    command.add_argument("--batch-size", type=_whole, default=64, help="images a request (default: %(default)s)")
    command.add_argument("--concurrency", type=_whole, default=2, help="requests in flight (default: %(default)s)")
    command.add_argument("--limit", type=_whole, metavar="N", help="the first N test images only")
    command.add_argument(
        "--reference",
        nargs="?",
        const="beside the model",
        metavar="FILE",
        help="compare with PyTorch's answers too (default: those beside the model in --repository)",
    )
    command.add_argument("--min-agreement", type=_share, default=0.0, metavar="SHARE", help="0..1; exit 2 below it")
    without = command.add_mutually_exclusive_group()
    without.add_argument("--synthetic", action="store_true", help="no dataset: compare with --reference only")
    without.add_argument("--fallback-synthetic", action="store_true", help="the same, where no dataset is found")
    command.set_defaults(run=_accuracy)


def _add_latency(command: argparse.ArgumentParser) -> None:
    _add_common(command)
    command.add_argument("--batch-size", type=_wholes, default=[64], metavar="N[,N…]", help="default: 64")
    command.add_argument("--concurrency", type=_wholes, default=[2], metavar="N[,N…]", help="in flight (default: 2)")
    command.add_argument("--duration", type=_seconds, default=10, help="seconds a row (default: %(default)s)")
    command.set_defaults(run=_latency)


def _add_common(command: argparse.ArgumentParser) -> None:
    url = os.environ.get("TRITON_URL", DEFAULT_URL)
    command.add_argument("--model", required=True, help="the model's name in Triton")
    command.add_argument("--version", default="", help="its version (default: the newest that is served)")
    command.add_argument("--url", default=url, help="HOST:PORT of Triton's gRPC (default: $TRITON_URL or %(default)s)")
    command.add_argument("--data", type=Path, help="CIFAR-10's directory (default: $CIFAR10_DIR, then data/)")
    command.add_argument("--repository", type=Path, help="the model repository, to record what the model was made from")
    command.add_argument("--timeout", type=_seconds, default=60, help="seconds for one request (default: %(default)s)")
    command.add_argument("--output", type=Path, metavar="FILE", help="default: results/COMMAND-MODEL.json")


def _number(text: str, convert: Callable[[str], float], good: Callable[[float], bool], expected: str) -> float:
    try:
        value = convert(text)
    except ValueError:
        value = float("nan")
    if not good(value):
        raise argparse.ArgumentTypeError(f"expected {expected}, found '{text}'")
    return value


def _whole(text: str) -> int:
    return int(_number(text, int, lambda value: value >= 1, "a whole number of 1 or more"))


def _wholes(text: str) -> list[int]:
    return [_whole(part) for part in text.split(",")]


def _seconds(text: str) -> float:
    return _number(text, float, lambda value: 0 < value < float("inf"), "seconds, more than 0")


def _share(text: str) -> float:
    return _number(text, float, lambda value: 0 <= value <= 1, "a share of 0 to 1")


def _accuracy(arguments: argparse.Namespace) -> None:
    from client.measure import measure_accuracy

    measure_accuracy(arguments)


def _latency(arguments: argparse.Namespace) -> None:
    from client.measure import measure_latency

    measure_latency(arguments)


if __name__ == "__main__":
    sys.exit(run(parser()))
