"""From a directory to a dataset: find, download, decode, cache."""

from __future__ import annotations

import os
from pathlib import Path

from cifar10 import cache, parquet, pickles, sources
from cifar10.dataset import Dataset, Split
from cifar10.download import fetch
from cifar10.errors import DatasetError, DatasetNotFoundError
from cifar10.sources import Layout, Source

ENVIRONMENT_VARIABLE = "CIFAR10_DIR"
DEFAULT_DIRECTORY = Path("data")
"""In the current directory; the only place that is ever downloaded into."""

_DECODERS = {Layout.PARQUET: parquet.decode, Layout.PICKLES: pickles.decode}


def load(split: Split, data: Path | None = None, *, download: bool = True) -> Dataset:
    """Read a split of CIFAR-10, from the cache where its files have been decoded before.

    Args:
        split: which half.
        data: the directory that holds it; None reads `CIFAR10_DIR`, and where that is unset takes `data/`.
        download: whether the archive may be fetched into `data/` when that directory has no data.

    Returns:
        The whole split.

    Raises:
        DatasetNotFoundError: no directory was named, `data/` has no data, and it cannot be downloaded.
        DatasetError: the named directory is missing or lacks the split, or a file is damaged.
        OSError: a file cannot be read.
    """
    named = data or os.environ.get(ENVIRONMENT_VARIABLE)
    directory = Path(named) if named else DEFAULT_DIRECTORY
    source = _named_source(directory, split) if named else _default_source(directory, split, download=download)
    entry = cache.entry_path(directory, source, split)
    if cached := cache.load(entry, split):
        return cached
    images, labels, name = _DECODERS[source.layout](source.files)
    dataset = Dataset(images, labels, name, source.sha256(), split)
    cache.store(entry, dataset)
    return dataset


def _named_source(directory: Path, split: Split) -> Source:
    hint = f"--data or {ENVIRONMENT_VARIABLE} must name a directory that holds {sources.LAYOUTS}"
    if not directory.exists():
        raise DatasetError(f"the data directory {directory} does not exist", hint)
    if not directory.is_dir():
        raise DatasetError(f"the data directory {directory} is not a directory", hint)
    source = sources.find(directory, split)
    if source is None:
        names = sorted(path.name for path in directory.iterdir())
        found = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
        raise DatasetError(f"{directory} has no {split.value} split of CIFAR-10; it holds: {found or 'nothing'}", hint)
    return source


def _default_source(directory: Path, split: Split, *, download: bool) -> Source:
    source = sources.find(directory, split) if directory.is_dir() else None
    if source is None and download:
        fetch(directory)
        source = sources.find(directory, split)
    if source is None:
        raise DatasetNotFoundError(
            f"CIFAR-10 is not in {directory}/",
            f"set {ENVIRONMENT_VARIABLE}, or pass --data, to a directory that holds {sources.LAYOUTS}",
        )
    return source
