"""Load on a model: a closed loop keeps requests in flight, an open loop sends at a rate whatever comes back.

In an open loop latency counts from the moment at which a request was due, so neither a slow server nor a slow client
can hide a wait ("coordinated omission").
"""

from __future__ import annotations

import dataclasses
import enum
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from client.errors import RequestRejectedError, RequestTimedOutError, ServerUnreachableError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from client.connection import Answer, Connection, Model, Prepared

WARMUP_REQUESTS = 3
"""Requests in a row, for each one in flight, before the clock starts: connections, arenas and caches settle."""

MAX_IN_FLIGHT = 1024
"""In an open loop further requests wait in the client; their wait counts as latency."""

_OPEN_LOOP_REQUESTS = 64
"""Different requests that an open loop cycles through."""


class Arrivals(str, enum.Enum):
    """When an open loop sends."""

    POISSON = "poisson"  # as many independent users would
    CONSTANT = "constant"  # at equal distances


@dataclass(frozen=True)
class Load:
    """What to send; either `concurrency` (closed loop) or `rate` (open loop) is set.

    Attributes:
        batch_size: images a request.
        seconds: how long to send.
        concurrency: requests in flight.
        rate: requests a second.
        arrivals: of an open loop.
    """

    batch_size: int
    seconds: float
    concurrency: int | None = None
    rate: float | None = None
    arrivals: Arrivals = Arrivals.POISSON

    @property
    def prepared(self) -> int:
        """How many different requests to make beforehand: each place in flight has its own."""
        if self.concurrency is None:
            return _OPEN_LOOP_REQUESTS
        return self.concurrency * -(-8 // self.concurrency)  # at least 8, and as many for each


class Outcome(enum.IntEnum):
    """What became of a request."""

    ANSWERED = 0
    REJECTED = 1
    TIMED_OUT = 2
    FAILED = 3


@dataclass(frozen=True)
class Record:
    """All requests of a window; times are of `time.perf_counter`, which processes of one machine share.

    Attributes:
        due: when each was to be sent, in s, float64 [N]; in a closed loop, when it was sent.
        sent: when it was sent, in s.
        answered: when its answer had come, in s.
        outcome: an `Outcome` each, int8 [N].
        begin: of the window, in s.
        end: planned end of sending, in s.
        cpu_seconds: processor time of the busiest client process meanwhile.
    """

    due: NDArray[np.float64]
    sent: NDArray[np.float64]
    answered: NDArray[np.float64]
    outcome: NDArray[np.int8]
    begin: float
    end: float
    cpu_seconds: float

    @staticmethod
    def merged(records: list[Record]) -> Record:
        """The records of several processes as one."""
        columns = {
            name: np.concatenate([getattr(record, name) for record in records])
            for name in ("due", "sent", "answered", "outcome")
        }
        busiest = max(record.cpu_seconds for record in records)
        return dataclasses.replace(records[0], **columns, cpu_seconds=busiest)


def make_requests(
    connection: Connection, model: Model, images: NDArray[np.uint8], load: Load, offset: int = 0
) -> list[Prepared]:
    """Prepare the requests of a load.

    Args:
        connection: the server.
        model: whom to ask.
        images: UINT8 [N, 32, 32, 3] to draw from, wrapping around at the end; at least one.
        load: how many.
        offset: of the first image.
    """
    connection.reserve(load.prepared, load.batch_size)
    indices = offset + np.arange(load.prepared * load.batch_size)
    parts = np.split(indices % len(images), load.prepared)
    return [connection.prepare(model, images[part], slot) for slot, part in enumerate(parts)]


def warm_up(connection: Connection, requests: list[Prepared], load: Load) -> None:
    """Send some requests that are not measured.

    Raises:
        ServerUnreachableError: the server is gone.
    """
    left = itertools.repeat(None, WARMUP_REQUESTS * (load.concurrency or 4))
    _closed_loop(connection, requests, load.concurrency or 4, lambda: next(left, _END) is not _END)


_END = object()


def run(connection: Connection, requests: list[Prepared], load: Load, begin: float, seed: int) -> Record:
    """Send for `load.seconds` from the moment `begin` on, and wait for all answers.

    Args:
        connection: the server.
        requests: what to send, in turn.
        load: how.
        begin: when, on the clock of `time.perf_counter`.
        seed: of a Poisson process.

    Raises:
        ServerUnreachableError: the server is gone.
    """
    end = begin + load.seconds
    time.sleep(max(begin - time.perf_counter(), 0))
    cpu = time.process_time()
    if load.concurrency is not None:
        rows = _closed_loop(connection, requests, load.concurrency, lambda: time.perf_counter() < end)
    else:
        rows = _open_loop(connection, requests, begin + arrival_times(load, load.rate or 0, seed))
    used = time.process_time() - cpu
    columns = np.array(rows, np.float64).reshape(-1, 4).T
    return Record(columns[0], columns[1], columns[2], columns[3].astype(np.int8), begin, end, used)


def arrival_times(load: Load, rate: float, seed: int) -> NDArray[np.float64]:
    """When an open loop sends, in s from its beginning, ascending, all within `load.seconds`."""
    if load.arrivals is Arrivals.CONSTANT:
        return np.asarray(np.arange(0, load.seconds, 1 / rate), np.float64)
    generator = np.random.default_rng(seed)
    # given how many there are, the arrivals of a Poisson process are independent and uniform
    count = generator.poisson(rate * load.seconds)
    return np.sort(generator.uniform(0, load.seconds, count))


class _Log:
    """Rows of (due, sent, answered, outcome), and whether to go on."""

    def __init__(self) -> None:
        self.rows: list[tuple[float, float, float, int]] = []
        self.broken = threading.Event()
        self.error: BaseException | None = None

    def add(self, due: float, sent: float, answer: Answer) -> None:
        now = time.perf_counter()
        if isinstance(answer.error, ServerUnreachableError):
            self.stop(answer.error)
        else:
            self.rows.append((due, sent, now, _outcome(answer)))

    def stop(self, error: BaseException) -> None:
        self.error = self.error or error
        self.broken.set()


def _outcome(answer: Answer) -> Outcome:
    if answer.error is None:
        return Outcome.ANSWERED
    if isinstance(answer.error, RequestRejectedError):
        return Outcome.REJECTED
    return Outcome.TIMED_OUT if isinstance(answer.error, RequestTimedOutError) else Outcome.FAILED


def _closed_loop(
    connection: Connection, requests: list[Prepared], concurrency: int, more: Callable[[], bool]
) -> list[tuple[float, float, float, int]]:
    """Keep `concurrency` chains going, each sending its next request when the last is answered, while `more()`."""
    log = _Log()
    ended = threading.Semaphore(0)

    def follow(chain: Iterator[Prepared]) -> None:
        if log.broken.is_set() or not more():
            ended.release()
            return
        sent = time.perf_counter()

        def done(answer: Answer) -> None:
            try:
                log.add(sent, sent, answer)
                follow(chain)
            except BaseException as error:  # noqa: BLE001  raised below, on the thread that waits
                log.stop(error)
                ended.release()

        connection.send(next(chain), done)

    for number in range(concurrency):
        follow(itertools.cycle(requests[number::concurrency] or requests))
    try:
        for _ in range(concurrency):
            ended.acquire()
    except BaseException:
        log.broken.set()  # interrupted: the chains end with the request they are at
        raise
    if log.error is not None:
        raise log.error
    return log.rows


def _open_loop(
    connection: Connection, requests: list[Prepared], due_times: NDArray[np.float64]
) -> list[tuple[float, float, float, int]]:
    """Send a request at each of the times, and wait for the answers."""
    log = _Log()
    room = threading.Semaphore(MAX_IN_FLIGHT)
    for due, request in zip(due_times.tolist(), itertools.cycle(requests)):
        wait = due - time.perf_counter()
        if wait > 0 and log.broken.wait(wait):
            break
        room.acquire()
        if log.broken.is_set():
            room.release()
            break
        sent = time.perf_counter()

        def done(answer: Answer, due: float = due, sent: float = sent) -> None:
            log.add(due, sent, answer)
            room.release()

        connection.send(request, done)
    for _ in range(MAX_IN_FLIGHT):
        room.acquire()
    if log.error is not None:
        raise log.error
    return log.rows
