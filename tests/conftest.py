"""Fixtures that several packages' tests share."""

from __future__ import annotations

import os

import pytest

from cifar10 import Dataset, Split, load


@pytest.fixture(scope="session")
def cifar10_test() -> Dataset:
    """The real test images; skips, with the reason, where there are none."""
    if "CIFAR10_DIR" not in os.environ:
        pytest.skip("CIFAR10_DIR is not set: no real images")
    return load(Split.TEST)
