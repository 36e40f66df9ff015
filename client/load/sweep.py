"""The order of measuring: models take turns in rounds, so that a machine that slows down slows all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from client.connection import Control, Model
from client.load.generator import Load, Record
from client.load.server_times import ServerTimes, between
from client.load.workers import Loader


@dataclass(frozen=True)
class Window:
    """One measurement of one model.

    Attributes:
        model: which.
        load: under which load.
        round: 0, 1, …
        record: what the client saw.
        server: what the server counted meanwhile.
    """

    model: Model
    load: Load
    round: int
    record: Record
    server: ServerTimes


def sweep(
    control: Control,
    loader: Loader,
    models: list[Model],
    loads: list[Load],
    rounds: int,
    begun: Callable[[Model, Load, int], None] = lambda *_: None,
) -> Iterator[Window]:
    """Measure every model under every load, `rounds` times, the models' order rotated from round to round.

    Args:
        control: the server's counters.
        loader: makes the load.
        models: at least one.
        loads: at least one.
        rounds: windows for each model and load.
        begun: called before each window.

    Raises:
        ClientError: the server is gone; the windows before have been yielded.
    """
    for load in loads:
        for number in range(rounds):
            for model in rotated(models, number):
                begun(model, load, number)
                loader.prepare(model, load)
                before = control.statistics()
                record = loader.run(seed=number)
                yield Window(model, load, number, record, between(before, control.statistics(), model))


def rotated(models: list[Model], number: int) -> list[Model]:
    """The models' order in a round: each begins with another one, so that none profits from its place."""
    shift = number % len(models)
    return models[shift:] + models[:shift]
