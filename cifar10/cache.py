"""Decoded splits kept as .npy, so that only the first run decodes them.

An entry is a directory named after its split and its sources' sizes and modification times: changed data has another
name, and an entry is renamed into place whole.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import zlib
from pathlib import Path

import numpy as np

from cifar10.constants import IMAGE_SHAPE
from cifar10.dataset import Dataset, Split
from cifar10.sources import Source
from cifar10.staging import staging

FORMAT = 1  # raise it when what an entry holds, or how the sources are decoded, changes
FOLDER = ".cifar10-cache"
PROJECT = "triton-resnet18-cifar10"

_logger = logging.getLogger(__name__)


def entry_path(directory: Path, source: Source, split: Split) -> Path:
    """Where the decoded `source` belongs: beside the data, or in the user's cache where the data is read-only.

    Ask before the source is read: if it changes meanwhile, the entry has the old data's name and is never used.
    """
    sources = json.dumps([FORMAT, source.layout.value, source.fingerprint()])
    return _root(directory) / f"{split.value}-{hashlib.sha256(sources.encode()).hexdigest()[:16]}"


def _root(directory: Path) -> Path:
    # The mode bits count too: root may write everywhere, but somebody has made this directory read-only on purpose.
    if directory.stat().st_mode & 0o222 and os.access(directory, os.W_OK):
        return directory / FOLDER
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():  # unset, or to be ignored by the XDG base directory specification
        base = Path(os.path.expanduser("~/.cache"))  # noqa: PTH111 - Path.expanduser raises for a user without a home
    return base / PROJECT / f"cifar10-{hashlib.sha256(bytes(directory.resolve())).hexdigest()[:16]}"


def load(entry: Path, split: Split) -> Dataset | None:
    """Return the cached split, or None where there is no entry or a damaged one."""
    try:
        record = json.loads((entry / "entry.json").read_text(encoding="utf-8"))
        images = np.load(entry / "images.npy", allow_pickle=False)
        labels = np.load(entry / "labels.npy", allow_pickle=False)
        dataset = Dataset(images, labels, record["name"], record["sha256"], split)
        intact = images.shape == (len(labels), *IMAGE_SHAPE) and _crc32(dataset) == record["crc32"]
    except Exception as error:  # noqa: BLE001 - whatever is wrong with the entry, decoding again puts it right
        _logger.debug("no usable cache of the %s split: %s", split.value, error)
        return None
    return dataset if intact else None


def store(entry: Path, dataset: Dataset) -> None:
    """Keep `dataset`; where that is impossible (full disk), say so and go on: the next run decodes again."""
    record = {"name": dataset.name, "sha256": dataset.sha256, "crc32": _crc32(dataset)}
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        with staging(entry.parent) as directory:
            staged = directory / entry.name
            staged.mkdir()
            np.save(staged / "images.npy", dataset.images)
            np.save(staged / "labels.npy", dataset.labels)
            (staged / "entry.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
            for outdated in entry.parent.glob(f"{dataset.split.value}-*"):  # this very entry too, if it was damaged
                shutil.rmtree(outdated, ignore_errors=True)
            staged.replace(entry)
    except OSError as error:
        _logger.warning("the decoded images were not cached, the next run decodes them again: %s", error)


def _crc32(dataset: Dataset) -> int:
    return zlib.crc32(dataset.labels.data, zlib.crc32(dataset.images.data))
