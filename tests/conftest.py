"""Fixtures that several packages' tests share."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from cifar10 import Dataset, Split, load

REAL_IMAGES = os.environ.get("CIFAR10_DIR")  # read now: tests of the loader take it out of the environment

# A shell that starts the tests in the background has SIGINT ignored, and so would every process that they interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def cifar10_test() -> Dataset:
    """The real test images; skips, with the reason, where there are none."""
    if REAL_IMAGES is None:
        pytest.skip("CIFAR10_DIR is not set: no real images")
    return load(Split.TEST, Path(REAL_IMAGES))
