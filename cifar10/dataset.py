"""One split of CIFAR-10 in memory."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]

LOSSLESS_NAME = "CIFAR-10"
JPEG_NAME = "CIFAR-10 (JPEG copy)"
"""JPEG costs about two points of accuracy, so a figure measured on such a copy must carry its name."""


class Split(str, enum.Enum):
    """The two halves of the dataset; the value is the word their files' names begin with."""

    TRAIN = "train"
    TEST = "test"


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and their labels.

    Attributes:
        images: uint8 [N, 32, 32, 3], RGB.
        labels: int64 [N], indices into `CLASS_NAMES`.
        name: `LOSSLESS_NAME` or `JPEG_NAME`; whatever is reported about these images names them so.
        sha256: of the files they were decoded from, one after another in reading order (`cat FILES | sha256sum`).
        split: which half this is.
    """

    images: Images
    labels: Labels
    name: str
    sha256: str
    split: Split

    def __len__(self) -> int:
        return len(self.labels)

    def head(self, n: int) -> Dataset:
        """Return the first `n` images; all of them where there are fewer.

        Raises:
            ValueError: `n` is negative.
        """
        if n < 0:
            raise ValueError(f"n must be 0 or more; found {n}")
        return replace(self, images=self.images[:n], labels=self.labels[:n])
