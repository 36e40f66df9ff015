"""The canonical layout, `cifar-10-batches-py`: five training batches and a test batch, each a Python 2 pickle."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cifar10.dataset import LOSSLESS_NAME, Images, Labels, Split
from cifar10.errors import DatasetError
from cifar10.progress import progress

FOLDER = "cifar-10-batches-py"

BATCHES = {
    Split.TRAIN: ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"),
    Split.TEST: ("test_batch",),
}

MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
"""The published files' checksums, as torchvision.datasets.CIFAR10 lists them."""


def decode(files: Sequence[Path]) -> tuple[Images, Labels, str]:
    """Read the batches.

    Args:
        files: batch files, each named as in `MD5`.

    Returns:
        Images uint8 [N, 32, 32, 3], labels int64 [N], and the dataset's name.

    Raises:
        DatasetError: a file is not the published one.
    """
    images, labels = [], []
    with progress("reading CIFAR-10", total=len(files)) as advance:
        for file in files:
            batch = _load(file)
            images.append(batch[b"data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
            labels.append(np.asarray(batch[b"labels"], np.int64))
            advance(1)
    # concatenate keeps the planes' order in memory; whoever sends or hashes the images wants them as they are indexed.
    return np.ascontiguousarray(np.concatenate(images)), np.concatenate(labels), LOSSLESS_NAME


def _load(file: Path) -> dict[bytes, Any]:
    """Unpickle a batch whose bytes are known: a pickle is code, so nothing else may run."""
    content = file.read_bytes()
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != MD5[file.name]:
        raise DatasetError(
            f"{file} is not the published file and was not opened: md5 {found}, expected {MD5[file.name]}",
            "the file is truncated, damaged or forged: delete it and unpack or download it again",
        )
    batch: dict[bytes, Any] = pickle.loads(content, encoding="bytes")  # noqa: S301 - its md5 is known
    return batch
