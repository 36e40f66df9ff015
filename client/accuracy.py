"""Classifying many images: batches, several requests in flight, every answer in its place."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cifar10 import CLASS_NAMES
from client.errors import ClientError, RequestFailedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from client.triton import Model, Triton


@dataclass(frozen=True)
class Classification:
    """Answers to a set of images.

    Attributes:
        logits: FP32 [N, 10], in the order of the images.
        seconds: wall time from the first request to the last answer.
    """

    logits: NDArray[np.float32]
    seconds: float

    @property
    def images_per_second(self) -> float:
        """Throughput."""
        return len(self.logits) / self.seconds


def classify(
    triton: Triton,
    model: Model,
    images: NDArray[np.uint8],
    *,
    batch_size: int,
    concurrency: int,
    progress: Callable[[int], None] = lambda _: None,
) -> Classification:
    """Send all images and collect the logits.

    Args:
        triton: the connection.
        model: which model.
        images: UINT8 [N, 32, 32, 3].
        batch_size: images a request; the last may hold fewer.
        concurrency: requests in flight.
        progress: called with the number of images answered, after each answer.

    Raises:
        ClientError: a request failed; says how many images had been answered. Nothing is skipped.
    """
    logits = np.full((len(images), len(CLASS_NAMES)), np.nan, np.float32)
    starts = list(range(0, len(images), batch_size))
    done = 0
    begin = time.perf_counter()

    def answer(start: int) -> tuple[int, NDArray[np.float32]]:
        return start, triton.infer(model, triton.request(images[start : start + batch_size]))

    with ThreadPoolExecutor(concurrency) as pool:
        pending: set[Future[tuple[int, NDArray[np.float32]]]] = set()
        try:
            while starts or pending:
                while starts and len(pending) < concurrency:
                    pending.add(pool.submit(answer, starts.pop(0)))
                finished, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in finished:
                    start, part = future.result()
                    logits[start : start + len(part)] = part
                    done += len(part)
                    progress(done)
        except ClientError as error:
            message = f"{error} (after {done:,} of {len(images):,} images; no result was written)"
            raise type(error)(message, error.hint) from None
        finally:
            for future in pending:
                future.cancel()
    seconds = time.perf_counter() - begin
    if not np.isfinite(logits).all():
        broken = int((~np.isfinite(logits)).any(axis=1).sum())
        raise RequestFailedError(f"{broken:,} of {len(images):,} answers hold NaN or infinity", "the model is broken")
    return Classification(logits, seconds)
