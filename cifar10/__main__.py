"""`python -m cifar10`: is the dataset at hand? Downloads it where none is named and the network allows."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from console import run

NO_DATASET = "SYNTHETIC IMAGES: CIFAR-10 is not here, so no accuracy can be measured; only agreement with PyTorch"


def parser() -> argparse.ArgumentParser:
    """The command line of `python -m cifar10`."""
    top = argparse.ArgumentParser(prog="python -m cifar10", description="Find, download and decode CIFAR-10.")
    top.add_argument("--data", type=Path, help="its directory (default: $CIFAR10_DIR, then data/)")
    top.add_argument("--or-synthetic", action="store_true", help="where it cannot be had, say so and succeed")
    top.add_argument("--no-download", action="store_true", help="look, but fetch nothing")
    top.set_defaults(run=locate)
    return top


def locate(arguments: argparse.Namespace) -> None:
    """Print one line: which test images a measurement will use."""
    from cifar10.dataset import Split
    from cifar10.errors import DatasetNotFoundError
    from cifar10.loading import load

    try:
        dataset = load(Split.TEST, arguments.data, download=not arguments.no_download)
    except DatasetNotFoundError:
        if not arguments.or_synthetic:
            raise
        logging.getLogger("cifar10").info("%s (set CIFAR10_DIR to measure it)", NO_DATASET)
        return
    logging.getLogger("cifar10").info("%s: %s test images", dataset.name, f"{len(dataset):,}")


if __name__ == "__main__":
    sys.exit(run(parser()))
