"""Requests of known images in orders that never repeat, one after the other or many in flight, and what came back."""

from __future__ import annotations

import enum
import queue
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from client.connection.connection import GRACE
from client.connection.explain import timed_out
from client.errors import ClientError, RequestFailedError, RequestRejectedError, RequestTimedOutError, WrongShapeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from client.checks.answers.batch_sizes import Size
    from client.connection import Answer, Connection, Model

MAX_FAILURES = 50
"""Requests answered with an error after which a phase asks no more."""


_QUICK = 1e-6
"""Seconds an image that no server goes below."""

_IN_FLIGHT_SHARE = 0.25
"""Of the time left, that what is in flight at once may take: it is waited for after the deadline."""


class Phase(str, enum.Enum):
    """How requests followed one another."""

    ALONE = "asked alone"  # each image by itself, before anything is known about it
    IN_TURN = "one after the other"
    IN_FLIGHT = "in flight together"


class Outcome(str, enum.Enum):
    """What became of a request."""

    ANSWERED = "answered"
    REJECTED = "rejected"  # by the queue's policy
    FAILED = "failed"  # answered with an error
    OTHER_SHAPE = "other shape"


@dataclass(frozen=True)
class Exchange:
    """A request and its answer.

    Attributes:
        number: in the order of sending, from 0.
        phase: how it was sent.
        images: which images, by index, int64 [N].
        begin: when it was sent, in counts of what was sent and answered.
        end: when its answer came, likewise.
        outcome: what became of it.
        logits: FP32 [N, 10]; None without an answer.
        message: what was said instead of an answer.
    """

    number: int
    phase: Phase
    images: NDArray[np.int64]
    begin: int
    end: int
    outcome: Outcome
    logits: NDArray[np.float32] | None = None
    message: str = ""


class Deck:
    """Draws images without end: all of them in a random order, then all of them in another.

    Args:
        indices: of the images, int64 [N].
        rng: where the orders come from.
    """

    def __init__(self, indices: NDArray[np.int64], rng: np.random.Generator) -> None:
        self._indices, self._rng = indices, rng
        self._left = rng.permutation(indices)

    def draw(self, count: int) -> NDArray[np.int64]:
        """The next `count` indices."""
        while len(self._left) < count:
            self._left = np.concatenate([self._left, self._rng.permutation(self._indices)])
        drawn, self._left = self._left[:count], self._left[count:]
        return drawn


class Traffic:
    """Sends requests and keeps what came back, whatever ends it.

    Args:
        connection: the server.
        model: whom to ask.
        images: UINT8 [N, 32, 32, 3].
        largest: images that a request may hold.
        concurrency: requests that may be in flight.

    Raises:
        ClientError: shared memory cannot be had.
    """

    def __init__(
        self, connection: Connection, model: Model, images: NDArray[np.uint8], largest: int, concurrency: int
    ) -> None:
        self.exchanges: list[Exchange] = []
        self._connection, self._model, self._images = connection, model, images
        self._concurrency = concurrency
        self._sent = self._ticks = 0
        self._latest: deque[float] = deque([_QUICK], maxlen=5)
        connection.reserve(concurrency, largest)

    def ask(self, images: NDArray[np.int64], phase: Phase) -> Exchange:
        """Send one request and wait for its answer.

        Raises:
            ClientError: the server is gone, refuses, or gives no answer in time.
        """
        number, begin = self._next()
        request = self._connection.prepare(self._model, self._images[images])
        return self._keep(number, phase, images, begin, *_read(lambda: self._connection.infer(request)))

    def round(self, sizes: list[Size], deck: Deck, deadline: float) -> None:
        """Ask for each size so often as it says, one request after the other.

        Requests that would end after the deadline are left out.

        Args:
            sizes: in the order of asking.
            deck: the images.
            deadline: when to stop, on the clock of `time.monotonic`.
        """
        for size in sizes:
            for _ in range(size.requests):
                now = time.monotonic()
                if now + size.images * self._seconds_an_image > deadline:
                    break
                self.ask(deck.draw(size.images), Phase.IN_TURN)
                self._latest.append((time.monotonic() - now) / size.images)

    def in_flight(self, sizes: list[Size], deck: Deck, rng: np.random.Generator, deadline: float, most: int) -> None:
        """Keep requests of random sizes in flight, the small ones most often, since a server puts those together.

        Args:
            sizes: to choose from.
            deck: the images.
            rng: chooses.
            deadline: when to stop, on the clock of `time.monotonic`; what is in flight then is waited for.
            most: requests to send.
        """
        choices = np.array([size.images for size in sizes])
        weights = 1 / choices / (1 / choices).sum()
        room = int(_IN_FLIGHT_SHARE * (deadline - time.monotonic()) / self._seconds_an_image)
        finished: queue.SimpleQueue[tuple[int, Answer]] = queue.SimpleQueue()
        waiting: dict[int, tuple[int, NDArray[np.int64], int]] = {}
        first, failures = self._sent, 0

        def send(slot: int) -> None:
            more = self._sent - first < most and failures < MAX_FAILURES and time.monotonic() < deadline
            if not more:
                return
            others = sum(len(images) for _, images, _ in waiting.values())
            wanted = int(rng.choice(choices, p=weights))
            images = deck.draw(wanted if others + wanted <= room else int(choices[0]))
            request = self._connection.prepare(self._model, self._images[images], slot)
            number, begin = self._next()
            waiting[slot] = (number, images, begin)
            self._connection.send(request, lambda answer: finished.put((slot, answer)))

        for slot in range(self._concurrency):
            send(slot)
        while waiting:
            try:
                slot, answer = finished.get(timeout=self._connection.endpoint.timeout + GRACE)
            except queue.Empty:
                raise timed_out(self._connection.endpoint) from None
            number, images, begin = waiting.pop(slot)
            kept = self._keep(number, Phase.IN_FLIGHT, images, begin, *_read(answer.logits))
            failures += kept.outcome is Outcome.FAILED
            send(slot)

    @property
    def _seconds_an_image(self) -> float:
        """What the next request's images will take, by the quickest of the last requests: a first one may be slow."""
        return max(min(self._latest), _QUICK)

    def _next(self) -> tuple[int, int]:
        number, self._sent = self._sent, self._sent + 1
        self._ticks += 1
        return number, self._ticks

    def _keep(
        self,
        number: int,
        phase: Phase,
        images: NDArray[np.int64],
        begin: int,
        logits: NDArray[np.float32] | None,
        error: ClientError | None,
    ) -> Exchange:
        if isinstance(error, RequestTimedOutError):  # a server that is silent stays so: nothing else would be found
            raise error
        self._ticks += 1
        outcome = Outcome.ANSWERED if error is None else _outcome(error)
        exchange = Exchange(number, phase, images, begin, self._ticks, outcome, logits, str(error or ""))
        self.exchanges.append(exchange)
        return exchange


def _read(
    logits: Callable[[], NDArray[np.float32]],
) -> tuple[NDArray[np.float32] | None, ClientError | None]:
    try:
        return logits(), None
    except (RequestFailedError, RequestRejectedError) as error:
        return None, error


def _outcome(error: ClientError) -> Outcome:
    if isinstance(error, RequestRejectedError):
        return Outcome.REJECTED
    return Outcome.OTHER_SHAPE if isinstance(error, WrongShapeError) else Outcome.FAILED
