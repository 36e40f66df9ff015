"""The options that commands share, and what makes a value good."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

TRANSPORTS = ("grpc", "http", "system-shm", "cuda-shm")  # `Transport`'s values; importing it would load tritonclient


def add_connection(command: argparse.ArgumentParser, *, transport: bool = True) -> None:
    """Which server, and how to reach it."""
    group = command.add_argument_group("server")
    url = os.environ.get("TRITON_URL")
    group.add_argument(
        "--url", default=url, help="HOST:PORT of Triton (default: $TRITON_URL, or the transport's port on 127.0.0.1)"
    )
    if transport:
        group.add_argument(
            "--transport", choices=TRANSPORTS, default="grpc", help="how tensors travel (default: %(default)s)"
        )
    group.add_argument("--timeout", type=seconds, default=60, help="seconds for one request (default: %(default)s)")
    group.add_argument("--tls-ca", type=Path, metavar="FILE", help="use TLS; PEM file of the authorities to trust")
    group.add_argument("--tls-cert", type=Path, metavar="FILE", help="the client's own certificate")
    group.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key")
    group.add_argument(
        "--header", type=header, action="append", default=[], metavar="NAME:VALUE", help="sent along; can be repeated"
    )


def add_models(command: argparse.ArgumentParser) -> None:
    """Which models, which images, and where the result goes."""
    command.add_argument(
        "--model", action="append", metavar="NAME", help="can be repeated; the others are compared with the first "
        "(default: every model the server has ready)"
    )  # fmt: skip
    command.add_argument("--version", default="", help="of a single model (default: the newest that is served)")
    command.add_argument("--data", type=Path, help="CIFAR-10's directory (default: $CIFAR10_DIR, then data/)")
    command.add_argument(
        "--repository", type=Path, help="the model repository, to record what the models were made from"
    )
    command.add_argument("--output", type=Path, metavar="FILE", help="default: results/COMMAND-MODELS.json")


def whole(text: str) -> int:
    """A whole number of 1 or more."""
    return int(_number(text, int, lambda value: value >= 1, "a whole number of 1 or more"))


def wholes(text: str) -> list[int]:
    """Several, separated by commas."""
    return [whole(part) for part in text.split(",")]


def seconds(text: str) -> float:
    """A time."""
    return _number(text, float, lambda value: 0 < value < float("inf"), "seconds, more than 0")


def rates(text: str) -> list[float]:
    """Requests a second, separated by commas."""
    good: Callable[[float], bool] = lambda value: 0 < value < float("inf")  # noqa: E731
    return [_number(part, float, good, "requests a second, more than 0") for part in text.split(",")]


def share(text: str) -> float:
    """0 to 1."""
    return _number(text, float, lambda value: 0 <= value <= 1, "a share of 0 to 1")


def points(text: str) -> float:
    """Percentage points."""
    return _number(text, float, lambda value: 0 <= value <= 100, "percentage points of 0 to 100")


def header(text: str) -> tuple[str, str]:
    """NAME:VALUE."""
    name, colon, value = text.partition(":")
    if not (colon and name.strip()) or "\n" in text or "\r" in text:
        raise argparse.ArgumentTypeError(f"expected NAME:VALUE, found '{text}'")
    return name.strip(), value.strip()


def _number(text: str, convert: Callable[[str], float], good: Callable[[float], bool], expected: str) -> float:
    try:
        value = convert(text)
    except ValueError:
        value = float("nan")
    if not good(value):
        raise argparse.ArgumentTypeError(f"expected {expected}, found '{text}'")
    return value
