"""Which images a command sends: the test images, synthetic ones, or those whose answers PyTorch left."""

from __future__ import annotations

import logging
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import cifar10
from cifar10 import CLASS_NAMES, IMAGE_SHAPE, Dataset, DatasetNotFoundError, Split
from client.errors import ClientError
from console.tensorrt_rtx import version_directory

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from client.connection import Model

logger = logging.getLogger(__name__)

SYNTHETIC_COUNT = 512
SYNTHETIC_NAME = "synthetic images"


@dataclass(frozen=True)
class Reference:
    """Images and PyTorch's answers to them.

    Attributes:
        path: the file they came from.
        images: UINT8 [N, 32, 32, 3], synthetic.
        logits: FP32 [N, 10], of the network in PyTorch FP32 when the model was published.
    """

    path: Path
    images: NDArray[np.uint8]
    logits: NDArray[np.float32]


def labelled(data: Path | None, limit: int | None, *, or_none: bool) -> Dataset | None:
    """The test images with their labels.

    Args:
        data: the dataset's directory, or None for the default.
        limit: take the first N only.
        or_none: return None where there is no dataset, instead of failing.

    Raises:
        DatasetNotFoundError: there is none and `or_none` is False.
        DatasetError: it is damaged.
    """
    try:
        dataset = cifar10.load(Split.TEST, data)
    except DatasetNotFoundError:
        if or_none:
            return None
        raise
    return dataset if limit is None else dataset.head(limit)


def unlabelled(data: Path | None) -> tuple[str, NDArray[np.uint8]]:
    """Images to measure time with, and their name: test images where there are any, else synthetic ones."""
    try:
        dataset = cifar10.load(Split.TEST, data, download=False)
    except DatasetNotFoundError:
        logger.info("no CIFAR-10 here: measuring with synthetic images")
        return SYNTHETIC_NAME, cifar10.synthetic_images(SYNTHETIC_COUNT)
    return f"{dataset.name}, test images", dataset.images


def reference_path(repository: Path | None, model: Model) -> Path:
    """Where the builder leaves a published model's reference answers.

    Raises:
        ClientError: no repository is named.
    """
    if repository is None:
        raise ClientError("--reference needs a file, or --repository to find the one beside the model")
    return version_directory(repository, model.name, model.version) / "reference.npz"


def load_reference(path: Path) -> Reference:
    """Read reference answers.

    Raises:
        ClientError: the file is missing, damaged, or holds other arrays.
    """
    hint = "build the model again: make build-repo"
    try:
        with np.load(path, allow_pickle=False) as arrays:
            images, logits = arrays["images"], arrays["logits"]
    except FileNotFoundError:
        raise ClientError(f"there are no reference answers at {path}", hint) from None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ClientError(f"{path} cannot be read as reference answers: {error}", hint) from None
    count = len(images)
    shapes = (images.shape, logits.shape) == ((count, *IMAGE_SHAPE), (count, len(CLASS_NAMES)))
    if not (count and shapes and images.dtype == np.uint8 and logits.dtype == np.float32):
        raise ClientError(
            f"{path}: expected images uint8 [N, 32, 32, 3] and logits float32 [N, 10], found "
            f"{images.dtype} {list(images.shape)} and {logits.dtype} {list(logits.shape)}",
            hint,
        )
    return Reference(path, images, logits)
