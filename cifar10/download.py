"""Fetching the canonical archive, whole and checked or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import logging
import tarfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from cifar10.errors import DatasetNotFoundError
from cifar10.pickles import FOLDER
from cifar10.progress import progress
from cifar10.sources import LAYOUTS
from cifar10.staging import staging

TIMEOUT_S = 5.0
"""For connecting and for each read: a network that drops packets must not hold up the caller for minutes."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Archive:
    """A file on the web and what it must be.

    Attributes:
        url: where it is.
        md5: its checksum, in hexadecimal.
        size: its length in bytes.
    """

    url: str
    md5: str
    size: int


ARCHIVE = Archive(
    url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    md5="c58f30108f718f92721af3b95e74349a",  # as in torchvision.datasets.CIFAR10
    size=170_498_071,
)


def fetch(directory: Path) -> None:
    """Download `ARCHIVE` and unpack it as `directory`/cifar-10-batches-py.

    Args:
        directory: made if needed; left as it was when anything fails.

    Raises:
        DatasetNotFoundError: no network, no answer in time, another file than expected, or no room for it.
    """
    existed = directory.exists()
    try:
        _fetch(ARCHIVE, directory)
    except (OSError, http.client.HTTPException, tarfile.TarError, _WrongContentError) as error:
        reason = getattr(error, "reason", None) or error  # URLError wraps the error that says what happened
        raise DatasetNotFoundError(
            f"CIFAR-10 is not in {directory}/, and downloading {ARCHIVE.url} failed: {reason}",
            f"set CIFAR10_DIR, or pass --data, to a directory that holds {LAYOUTS}",
        ) from error
    finally:
        if not existed:
            with contextlib.suppress(OSError):  # never made, or not empty: the download succeeded, here or elsewhere
                directory.rmdir()


class _WrongContentError(Exception):
    pass


def _fetch(archive: Archive, directory: Path) -> None:
    # The connection comes first: without a network nothing is made on disk.
    with urllib.request.urlopen(archive.url, timeout=TIMEOUT_S) as response:  # noqa: S310 - a constant https URL
        _logger.info("downloading CIFAR-10 (%.0f MB) from %s", archive.size / 1e6, archive.url)
        directory.mkdir(parents=True, exist_ok=True)
        with staging(directory) as staged:
            _save(response, archive, staged / "archive.tar.gz")
            with tarfile.open(staged / "archive.tar.gz") as tar:
                tar.extractall(staged, filter="data")
            try:
                (staged / FOLDER).rename(directory / FOLDER)
            except OSError:
                if not (directory / FOLDER).is_dir():  # a concurrent download was faster, and it was checked as well
                    raise


def _save(response: http.client.HTTPResponse, archive: Archive, target: Path) -> None:
    digest = hashlib.md5(usedforsecurity=False)
    received = 0
    with target.open("wb") as file, progress("downloading", archive.size, unit_bytes=True) as advance:
        while received <= archive.size and (block := response.read(1 << 18)):
            file.write(block)
            digest.update(block)
            received += len(block)
            advance(len(block))
    if digest.hexdigest() != archive.md5:
        raise _WrongContentError(
            f"the file is not the published one: {received:,} bytes with md5 {digest.hexdigest()}, "
            f"expected {archive.size:,} bytes with md5 {archive.md5}"
        )
