"""A place to write what must appear whole or not at all."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

PREFIX = ".staging-"
ABANDONED_AFTER_S = 3600.0
"""Whoever is still writing touches a file every few seconds: the download gives up on a stalled read long before."""


@contextlib.contextmanager
def staging(parent: Path) -> Iterator[Path]:
    """Make a temporary directory in `parent` (so that a rename out of it is atomic) and remove it at the end.

    Also removes those that a killed process left there.

    Yields:
        The temporary directory.
    """
    for leftover in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # a concurrent process may be removing it too
            newest = max(path.stat().st_mtime for path in (leftover, *leftover.rglob("*")))
            if time.time() - newest > ABANDONED_AFTER_S:
                shutil.rmtree(leftover)
    with tempfile.TemporaryDirectory(dir=parent, prefix=PREFIX, ignore_cleanup_errors=True) as directory:
        yield Path(directory)
