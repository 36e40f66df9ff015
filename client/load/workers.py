"""Who makes the load: this process, or several when one Python process cannot make enough of it."""

from __future__ import annotations

import dataclasses
import multiprocessing
import signal
import sys
import time
from multiprocessing.connection import Connection as Pipe
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from client.connection import Connection, Endpoint, Model, Prepared
from client.errors import ClientError
from client.load import generator as load_module
from client.load.generator import Load, Record

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LEAD = 0.05
"""Seconds between agreeing on a window's beginning and that beginning, so that every process gets there in time."""

_START_TIMEOUT = 120
"""Seconds a worker process may take to start."""


class Loader(Protocol):
    """Prepares a load, warms the model up, and runs windows of it."""

    def prepare(self, model: Model, load: Load) -> None:
        """Make the requests and send those of the warm-up."""

    def run(self, seed: int) -> Record:
        """Run one window of the prepared load."""

    def close(self) -> None:
        """Give everything back."""


class LocalLoader:
    """Load from this process.

    Args:
        endpoint: the server.
        images: UINT8 [N, 32, 32, 3] to draw the requests from.
        offset: of the first image used.
    """

    def __init__(self, endpoint: Endpoint, images: NDArray[np.uint8], offset: int = 0) -> None:
        self._connection = Connection(endpoint)
        self._images = images
        self._offset = offset
        self._load: Load | None = None
        self._requests: list[Prepared] = []

    def prepare(self, model: Model, load: Load) -> None:
        """See `Loader`."""
        self._load = load
        self._requests = load_module.make_requests(self._connection, model, self._images, load, self._offset)
        load_module.warm_up(self._connection, self._requests, load)

    def run(self, seed: int, begin: float | None = None) -> Record:
        """See `Loader`; `begin` is the moment other processes begin too."""
        if self._load is None:
            raise RuntimeError("prepare comes before run")
        begin = begin or time.perf_counter()
        return load_module.run(self._connection, self._requests, self._load, begin, seed)

    def close(self) -> None:
        """See `Loader`."""
        self._connection.close()


class ProcessLoader:
    """Load from several processes, each with its share of the concurrency or of the rate.

    Args:
        endpoint: the server.
        images: UINT8 [N, 32, 32, 3] to draw the requests from.
        workers: how many processes.

    Raises:
        ClientError: a process cannot start or cannot connect.
    """

    def __init__(self, endpoint: Endpoint, images: NDArray[np.uint8], workers: int) -> None:
        context = multiprocessing.get_context("spawn")  # gRPC does not survive a fork
        self._processes: list[Any] = []
        self._pipes: list[Pipe] = []
        self._used: list[Pipe] = []
        try:
            for number in range(workers):
                ours, theirs = context.Pipe()
                offset = number * len(images) // workers
                process = context.Process(target=_work, args=(theirs, endpoint, images, offset), daemon=True)
                process.start()
                theirs.close()
                self._processes.append(process)
                self._pipes.append(ours)
            for pipe in self._pipes:
                self._received(pipe, _START_TIMEOUT)
        except BaseException:
            self.close()
            raise

    def prepare(self, model: Model, load: Load) -> None:
        """See `Loader`. With fewer requests in flight than processes, only so many processes take part."""
        shares = _shares(load, len(self._pipes))
        self._used = self._pipes[: len(shares)]
        self._all("prepare", [(model, share) for share in shares])

    def run(self, seed: int) -> Record:
        """See `Loader`."""
        begin = time.perf_counter() + _LEAD
        return Record.merged(self._all("run", [(seed * 1000 + n, begin) for n in range(len(self._used))]))

    def close(self) -> None:
        """See `Loader`."""
        for pipe in self._pipes:
            pipe.close()  # which a worker that waits for a command takes as the end
        for process in self._processes:
            process.join(timeout=2)
            if process.is_alive():  # in the middle of a window
                process.terminate()
                process.join()

    def _all(self, method: str, arguments: list[tuple[Any, ...]]) -> list[Any]:
        for pipe, values in zip(self._used, arguments, strict=True):
            pipe.send((method, values))
        answers = [self._received(pipe) for pipe in self._used]  # of all, even when one has failed
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return answers

    def _received(self, pipe: Pipe, timeout: float | None = None) -> Any:
        try:
            if not pipe.poll(timeout):
                raise ClientError(f"a worker process did not start within {timeout:g} s", "lower --workers")
            answer = pipe.recv()
        except EOFError:
            raise ClientError("a worker process has died", "lower --workers, or see the system's log") from None
        if timeout is not None and isinstance(answer, BaseException):
            raise answer
        return answer


def _shares(load: Load, workers: int) -> list[Load]:
    if load.concurrency is None:
        return [dataclasses.replace(load, rate=(load.rate or 0) / workers)] * workers
    count = min(workers, load.concurrency)
    sizes = [load.concurrency // count + (number < load.concurrency % count) for number in range(count)]
    return [dataclasses.replace(load, concurrency=size) for size in sizes]


def _work(pipe: Pipe, endpoint: Endpoint, images: NDArray[np.uint8], offset: int) -> None:
    """A worker process: obey commands until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends us
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # and cleans up on the way out
    try:
        loader = LocalLoader(endpoint, images, offset)
    except BaseException as error:  # noqa: BLE001  raised again in the parent
        pipe.send(error)
        return
    try:
        pipe.send(None)
        while True:
            method, arguments = pipe.recv()
            try:
                pipe.send(getattr(loader, method)(*arguments))
            except Exception as error:  # noqa: BLE001  raised again in the parent
                pipe.send(error)
    except (EOFError, OSError):
        pass
    finally:
        loader.close()
