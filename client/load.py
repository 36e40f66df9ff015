"""Closed-loop load: each of several workers sends its next request when the last one is answered."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from client.errors import RequestFailedError, RequestRejectedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from client.triton import Model, Request, Triton

WARMUP_REQUESTS = 3
"""Requests each worker sends before the clock starts: connections, arenas and caches settle."""

PREPARED_REQUESTS = 8
"""Different requests each worker cycles through: their bytes are made once, outside the timed part."""


@dataclass(frozen=True)
class Load:
    """What to send.

    Attributes:
        batch_size: images a request.
        concurrency: workers, each with one request in flight.
        seconds: how long.
    """

    batch_size: int
    concurrency: int
    seconds: float


@dataclass(frozen=True)
class LoadResult:
    """What came back.

    Attributes:
        latencies_ms: of every answered request, from sending to having the logits, in ms.
        seconds: wall time from the first request to the last answer.
        images: answered.
        rejected: requests the server's queue refused.
        failed: requests it answered with an error or not in time.
    """

    latencies_ms: NDArray[np.float64]
    seconds: float
    images: int
    rejected: int
    failed: int

    @property
    def images_per_second(self) -> float:
        """Throughput of answered images."""
        return self.images / self.seconds


@dataclass
class _Worker:
    latencies: list[float] = field(default_factory=list)
    rejected: int = 0
    failed: int = 0
    last_answer: float = 0.0
    error: BaseException | None = None


def closed_loop(triton: Triton, model: Model, images: NDArray[np.uint8], load: Load) -> LoadResult:
    """Load a model for some seconds and time every request.

    Args:
        triton: the connection, shared by the workers.
        model: which model.
        images: UINT8 [N, 32, 32, 3] to draw the requests from, at least one.
        load: how much.

    Raises:
        ClientError: the server is gone.
    """
    start = threading.Barrier(load.concurrency + 1)
    stop = threading.Event()
    workers = [_Worker() for _ in range(load.concurrency)]
    threads = [
        threading.Thread(
            target=_work, args=(triton, model, _requests(triton, images, load, index), start, stop, worker), daemon=True
        )
        for index, worker in enumerate(workers)
    ]
    for thread in threads:
        thread.start()
    try:
        begin = _begin(start, workers)
        stop.wait(load.seconds)  # a worker that meets a dead server sets it
    finally:
        stop.set()
        start.abort()
        for thread in threads:
            thread.join()
    for worker in workers:
        if worker.error is not None:
            raise worker.error
    latencies = np.array([latency for worker in workers for latency in worker.latencies])
    end = max(worker.last_answer for worker in workers)
    return LoadResult(
        latencies_ms=latencies,
        seconds=max(end - begin, 1e-9),
        images=len(latencies) * load.batch_size,
        rejected=sum(worker.rejected for worker in workers),
        failed=sum(worker.failed for worker in workers),
    )


def _begin(start: threading.Barrier, workers: list[_Worker]) -> float:
    """Wait for the warm-ups, and return the time at which the measurement begins."""
    try:
        start.wait()
    except threading.BrokenBarrierError:
        raise next(worker.error for worker in workers if worker.error is not None) from None
    return time.perf_counter()


def _requests(triton: Triton, images: NDArray[np.uint8], load: Load, worker: int) -> list[Request]:
    """Different slices of the images for each worker, wrapping around at the end."""
    indices = np.arange(PREPARED_REQUESTS * load.batch_size) + worker * PREPARED_REQUESTS * load.batch_size
    return [triton.request(images[part % len(images)]) for part in np.split(indices, PREPARED_REQUESTS)]


def _work(
    triton: Triton, model: Model, requests: list[Request], start: threading.Barrier, stop: threading.Event, out: _Worker
) -> None:
    try:
        for request in requests[:WARMUP_REQUESTS]:
            _timed(triton, model, request, _Worker())
        start.wait()
        number = 0
        while not stop.is_set():
            _timed(triton, model, requests[number % len(requests)], out)
            number += 1
    except threading.BrokenBarrierError:
        pass
    except BaseException as error:  # noqa: BLE001  handed to the thread that started this one
        out.error = error
        stop.set()
        start.abort()


def _timed(triton: Triton, model: Model, request: Request, out: _Worker) -> None:
    sent = time.perf_counter()
    try:
        triton.infer(model, request)
    except RequestRejectedError:
        out.rejected += 1
    except RequestFailedError:
        out.failed += 1
    else:
        out.latencies.append(1000 * (time.perf_counter() - sent))
    out.last_answer = time.perf_counter()
