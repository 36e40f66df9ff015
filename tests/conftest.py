"""Fixtures that several packages' tests share."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from cifar10 import Dataset, Split, load

REAL_IMAGES = os.environ.get("CIFAR10_DIR")  # read now: tests of the loader take it out of the environment

# A shell that starts the tests in the background has SIGINT ignored, and so would every process that they interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


_SHARED = {"deploy": "engine", "docker": "engine", "client": "client"}
"""Folders whose tests share something of the machine: the Docker engine, or the names of clients' shared memory."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """For `pytest -n 2`: each of these folders in one process, first test to last, and each other file too."""
    from xdist.scheduler import LoadScopeScheduling

    class ByWhatIsShared(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return _SHARED.get(file.split("/")[1], file)

    return ByWhatIsShared(config, log)


@pytest.fixture(scope="session")
def cifar10_test() -> Dataset:
    """The real test images; skips, with the reason, where there are none."""
    if REAL_IMAGES is None:
        pytest.skip("CIFAR10_DIR is not set: no real images")
    return load(Split.TEST, Path(REAL_IMAGES))
