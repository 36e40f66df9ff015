"""Is a quantised model faster than the float one on the machine that builds it?"""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING

import cifar10

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    Infer = Callable[[NDArray[np.uint8]], NDArray[np.float32]]

BATCH_SIZE = 8
_ROUNDS = 7


def times_as_fast(quantized: Infer, reference: Infer) -> float:
    """How many times as many batches of `BATCH_SIZE` one function answers: the median of alternating rounds.

    Takes about a second: enough for a word to the user, not for a published figure.
    """
    images = cifar10.synthetic_images(BATCH_SIZE)
    for infer in (quantized, reference):
        infer(images)
    return median(_seconds(reference, images) / _seconds(quantized, images) for _ in range(_ROUNDS))


def _seconds(infer: Infer, images: NDArray[np.uint8]) -> float:
    start = time.perf_counter()
    infer(images)
    return time.perf_counter() - start
