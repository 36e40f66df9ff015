"""The options that commands share, and what makes a value good."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable
from pathlib import Path

from console.numbers import number, seconds, whole

_HEADER_NAME = re.compile("[A-Za-z0-9_.-]+")
"""What both HTTP and gRPC take."""

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


def add_models(command: argparse.ArgumentParser, *, data: bool = True, output: bool = True) -> None:
    """Which models, which images, and where the result goes."""
    command.add_argument(
        "--model", action="append", metavar="NAME[:N]", help="can be repeated, and name one version; the others are "
        "compared with the first (default: every model the server has ready)"
    )  # fmt: skip
    command.add_argument(
        "--version", default="", metavar="N", help="of a single model, as NAME:N (default: the newest that is served)"
    )
    if data:
        command.add_argument("--data", type=Path, help="CIFAR-10's directory (default: $CIFAR10_DIR, then data/)")
    command.add_argument(
        "--repository", type=Path, help="the model repository, to record what the models were made from"
    )
    if output:
        command.add_argument("--output", type=Path, metavar="FILE", help="default: results/COMMAND-MODELS.json")


def wholes(text: str) -> list[int]:
    """Several, separated by commas."""
    return [whole(part) for part in text.split(",")]


def rates(text: str) -> list[float]:
    """Requests a second, separated by commas."""
    good: Callable[[float], bool] = lambda value: 0 < value < float("inf")  # noqa: E731
    return [number(part, float, good, "requests a second, more than 0") for part in text.split(",")]


def share(text: str) -> float:
    """0 to 1."""
    return number(text, float, lambda value: 0 <= value <= 1, "a share of 0 to 1")


def positive_share(text: str) -> float:
    """More than 0, up to 1."""
    return number(text, float, lambda value: 0 < value <= 1, "a share of more than 0, up to 1")


def points(text: str) -> float:
    """Percentage points."""
    return number(text, float, lambda value: 0 <= value <= 100, "percentage points of 0 to 100")


def header(text: str) -> tuple[str, str]:
    """NAME:VALUE."""
    name, colon, value = text.partition(":")
    name, value = name.strip(), value.strip()
    if not (colon and _HEADER_NAME.fullmatch(name) and value.isascii() and value.isprintable()):
        raise argparse.ArgumentTypeError(f"expected NAME:VALUE in printable ASCII, found {text!r}")
    return name, value
