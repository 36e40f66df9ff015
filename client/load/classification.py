"""Classifying many images: batches, several requests in flight, every answer in its place."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cifar10 import CLASS_NAMES
from client.errors import ClientError, RequestFailedError
from client.statistics import estimates

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cifar10 import Dataset
    from client.connection import Answer, Connection, Model


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
    def classes(self) -> NDArray[np.int64]:
        """The most likely class of each image, [N]."""
        return np.asarray(self.logits.argmax(axis=1))

    @property
    def images_per_second(self) -> float:
        """Throughput."""
        return len(self.logits) / self.seconds


def classify(
    connection: Connection,
    model: Model,
    images: NDArray[np.uint8],
    *,
    batch_size: int,
    concurrency: int,
    progress: Callable[[int], None] = lambda _: None,
) -> Classification:
    """Send all images and collect the logits.

    Args:
        connection: the server.
        model: which model.
        images: UINT8 [N, 32, 32, 3].
        batch_size: images a request; the last may hold fewer.
        concurrency: requests in flight.
        progress: called with the number of images answered, now and then.

    Raises:
        ClientError: a request failed; says how many images had been answered. Nothing is skipped.
    """
    logits = np.full((len(images), len(CLASS_NAMES)), np.nan, np.float32)
    connection.reserve(concurrency, batch_size)
    finished: queue.SimpleQueue[tuple[int, int, Answer]] = queue.SimpleQueue()
    starts = iter(range(0, len(images), batch_size))
    done, in_flight = 0, 0

    def send(slot: int) -> int:
        start = next(starts, None)
        if start is None:
            return 0
        request = connection.prepare(model, images[start : start + batch_size], slot)
        connection.send(request, lambda answer: finished.put((slot, start, answer)))
        return 1

    begin = time.perf_counter()
    try:
        in_flight = sum(send(slot) for slot in range(concurrency))
        while in_flight:
            slot, start, answer = finished.get()
            part = answer.logits()
            logits[start : start + len(part)] = part
            done += len(part)
            progress(done)
            in_flight += send(slot) - 1
    except ClientError as error:
        message = f"{error} (after {done:,} of {len(images):,} images; no result was written)"
        raise type(error)(message, error.hint) from None
    seconds = time.perf_counter() - begin
    if not np.isfinite(logits).all():
        broken = int((~np.isfinite(logits)).any(axis=1).sum())
        raise RequestFailedError(f"{broken:,} of {len(images):,} answers hold NaN or infinity", "the model is broken")
    return Classification(logits, seconds)


def scored(answers: Classification, dataset: Dataset) -> dict[str, Any]:
    """Accuracy with its interval, per class, and the confusion matrix (rows: true class, columns: answer)."""
    count = len(CLASS_NAMES)
    confusion = np.bincount(dataset.labels * count + answers.classes, minlength=count * count).reshape(count, count)
    totals = confusion.sum(axis=1)
    return {
        "accuracy": asdict(estimates.proportion(int(confusion.trace()), len(dataset))),
        "per_class": [
            {"name": name, **asdict(estimates.proportion(int(confusion[index, index]), int(totals[index])))}
            for index, name in enumerate(CLASS_NAMES)
            if totals[index]
        ],
        "confusion": confusion.tolist(),
        "seconds": answers.seconds,
        "images_per_second": answers.images_per_second,
    }


def compared(answers: Classification, baseline: Classification, labels: NDArray[np.int64]) -> dict[str, Any]:
    """Two models on the same images: agreement, wins and losses, McNemar's p, the accuracies' difference."""
    found = estimates.agreement(answers.logits, baseline.logits)
    paired = estimates.paired_accuracy(answers.classes == labels, baseline.classes == labels)
    return {
        "top1_agreement": asdict(estimates.proportion(found.same_class, found.images)),
        "max_abs_difference": found.max_abs_difference,
        **asdict(paired),
    }


def check_class_names(connection: Connection, model: Model, image: NDArray[np.uint8]) -> None:
    """See that the server's class names are CIFAR-10's, in CIFAR-10's order.

    Raises:
        ClientError: they are not, or the server has none.
    """
    served = connection.control.class_names(model, image)
    expected = dict(enumerate(CLASS_NAMES))
    if served != expected:
        wrong = {index: name for index, name in sorted(served.items()) if expected.get(index) != name}
        # by their repr: a byte-order mark or a carriage return would not be seen, or spoil the line
        found = ", ".join(f"{index} is {name!r} instead of {expected.get(index)!r}" for index, name in wrong.items())
        hint = "see label_filename in its config.pbtxt"
        if any(_is_escaped(name) for name in served.values()):
            hint += ": that file is not UTF-8; save it as UTF-8, or build the model again"
        elif {index: name.strip("\ufeff\r") for index, name in served.items()} == expected:
            hint += ": save that file as UTF-8 without byte-order mark, its lines ended by a line feed alone"
        raise ClientError(f"model '{model.label}' names its classes otherwise: {found or 'some are missing'}", hint)


def _is_escaped(name: str) -> bool:
    """Whether bytes that are not UTF-8 stand in it, as `Control.class_names` keeps them."""
    return any("\udc80" <= character <= "\udcff" for character in name)
