"""Ctrl-C at a certain step of a build, however quick the build is."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import Progress

from builder.tensorrt import plan


class Watching(Progress):
    """Takes the place of the bars that a build reports to.

    Args:
        interrupt_at: the step at which a real SIGINT is sent; None for none.

    Attributes:
        phases: that were begun, in order.
        steps: how many were reported.
    """

    def __init__(self, interrupt_at: int | None = None) -> None:
        super().__init__(disable=True)
        self.phases: list[str] = []
        self.steps = 0
        self._interrupt_at = interrupt_at

    def add_task(self, description, *arguments, **options):
        self.phases.append(description)
        return super().add_task(description, *arguments, **options)

    def update(self, *arguments, **options):
        self.steps += 1
        if self.steps == self._interrupt_at:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)  # a step that takes its time: the main thread hears of the interrupt meanwhile
        super().update(*arguments, **options)


@contextmanager
def watched(interrupt_at: int | None = None) -> Iterator[Watching]:
    """Builds report to a `Watching` for as long as the block lasts."""

    @contextmanager
    def build_progress():
        yield progress

    progress, real = Watching(interrupt_at), plan.build_progress
    plan.build_progress = build_progress
    try:
        yield progress
    finally:
        plan.build_progress = real
