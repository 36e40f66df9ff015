"""Images in, logits out: one interface over every transport, with requests in flight without a thread each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError  # the built-in one since Python 3.11
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from client.connection import explain
from client.connection.control import Control
from client.connection.endpoint import Endpoint, Transport
from client.connection.grpc_transport import GrpcTransport
from client.connection.model import Model
from client.connection.shared_memory import SharedMemory, Slot
from client.errors import ClientError, RequestFailedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

GRACE = 5
"""Seconds beyond a request's timeout after which the transport itself is taken to have lost it."""


@dataclass(frozen=True)
class Prepared:
    """A request whose bytes are made, to be sent any number of times.

    Attributes:
        body: what the transport sends.
        images: how many it holds.
        version: of the model, that must answer.
        slot: where its tensors lie, with shared memory.
    """

    body: Any
    images: int
    version: str
    slot: Slot | None = None


@dataclass(frozen=True)
class Answer:
    """What became of a request.

    Attributes:
        error: why there is no answer; None when there is one.
    """

    error: ClientError | None
    _read: Callable[[], NDArray[np.float32]]

    def logits(self) -> NDArray[np.float32]:
        """FP32 [N, 10].

        Raises:
            ClientError: the request failed, or its answer has another shape.
        """
        if self.error is not None:
            raise self.error
        return self._read()


class Connection:
    """A connection for inference, and the questions one can ask beside it. Use it as a context manager.

    Args:
        endpoint: where the server is, and by which transport to reach it.

    Raises:
        ClientError: no server answers or is ready, or the transport cannot be used.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.control = Control(endpoint)
        self._transport: Any = _transport(endpoint)
        self._memory: SharedMemory | None = None
        self._using_memory = threading.Semaphore(0)
        self._sent_with_memory = 0
        self._slots: list[Slot] = []
        self._slot_images = 0

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free shared memory and close; requests in flight are given up."""
        try:
            if self._memory is not None:
                self._wait_for_memory()
                self._memory.close()
        finally:
            self._transport.close()
            self.control.close()

    def reserve(self, requests: int, images: int) -> None:
        """Make room for `requests` prepared requests of up to `images` images; does nothing without shared memory.

        Slots that are there already and large enough are used again.

        Raises:
            ClientError: memory does not suffice, or the server cannot use it.
        """
        if self.endpoint.transport not in (Transport.SYSTEM_SHM, Transport.CUDA_SHM):
            return
        if self._memory is None:
            self._memory = SharedMemory(self.control, self.endpoint.transport)
        if images > self._slot_images:
            self._memory.close()
            self._slots, self._slot_images = [], images
        self._slots += self._memory.slots(max(requests - len(self._slots), 0), self._slot_images)

    def prepare(self, model: Model, images: NDArray[np.uint8], slot: int = 0) -> Prepared:
        """Make a request of UINT8 [N, 32, 32, 3].

        Args:
            model: whom to ask.
            images: what.
            slot: which of the reserved places to use. Two requests in flight must not share one if their answers are
                read.
        """
        place = self._slots[slot] if self._slots else None
        return Prepared(self._transport.body(model, images, place), len(images), model.version, place)

    def send(self, request: Prepared, done: Callable[[Answer], None]) -> None:
        """Send a request; `done` is called with its answer, on another thread, and must not raise."""
        self._sent_with_memory += request.slot is not None

        def finish(response: Any, error: ClientError | None) -> None:
            if request.slot is not None:
                self._using_memory.release()
            if error is None:
                try:
                    self._check_version(request, response)
                    self._transport.check(response, request.images, in_slot=request.slot is not None)
                except ClientError as wrong:
                    error = wrong
            done(Answer(error, lambda: self._transport.logits(response, request.images, request.slot)))

        self._transport.send(request.body, finish)

    def infer(self, request: Prepared) -> NDArray[np.float32]:
        """Send a request and wait for its logits, FP32 [N, 10].

        Raises:
            RequestRejectedError: the queue is full.
            RequestFailedError: the server answered with an error, not in time, or with another shape.
            ServerUnreachableError: the server is gone.
        """
        waiting: Future[Answer] = Future()
        self.send(request, waiting.set_result)
        try:
            return waiting.result(self.endpoint.timeout + GRACE).logits()
        except FutureTimeoutError:
            raise explain.timed_out(self.endpoint) from None

    def _check_version(self, request: Prepared, response: Any) -> None:
        """See that a figure is of the version that its result names, whoever stands between client and server."""
        version = self._transport.version(response)
        if version and request.version not in ("", version):
            raise RequestFailedError(f"version {request.version} was asked, and version {version} answered")

    def _wait_for_memory(self) -> None:
        """Let the server finish with the regions before they vanish under it."""
        deadline = time.monotonic() + self.endpoint.timeout
        for _ in range(self._sent_with_memory):
            if not self._using_memory.acquire(timeout=max(deadline - time.monotonic(), 0)):
                return
        self._sent_with_memory = 0


def _transport(endpoint: Endpoint) -> Any:
    if endpoint.transport is Transport.HTTP:
        from client.connection.http_transport import HttpTransport

        return HttpTransport(endpoint)
    return GrpcTransport(endpoint)
