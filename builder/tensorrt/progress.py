"""What a person sees while TensorRT builds, and how Ctrl-C ends it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from types import ModuleType

    import tensorrt as trt

Result = TypeVar("Result")


class Cancellation:
    """Runs a build so that Ctrl-C reaches it.

    Python sees the interrupt only between its own instructions, and a build spends minutes inside TensorRT; so it runs
    in a thread of its own while the main thread listens. An interrupt is passed on to TensorRT, which stops after the
    step it is in.
    """

    def __init__(self) -> None:
        self._asked = threading.Event()

    @property
    def asked(self) -> bool:
        """Whether the user has interrupted."""
        return self._asked.is_set()

    def run(self, build: Callable[[], Result]) -> Result:
        """Call `build`, and wait for it even after an interrupt: its thread cannot be left alone.

        Raises:
            KeyboardInterrupt: the user interrupted; `build` has ended.
        """
        with ThreadPoolExecutor(1, "tensorrt-build") as pool:
            future = pool.submit(build)
            while True:
                try:
                    result = future.result(timeout=0.2)
                except NotYet:
                    if not future.done():
                        continue
                    raise  # a TimeoutError of the build itself
                except KeyboardInterrupt:
                    self._asked.set()
                    continue
                if self.asked:
                    raise KeyboardInterrupt
                return result


def make_monitor(tensorrt: ModuleType, cancellation: Cancellation, progress: Progress) -> trt.IProgressMonitor:
    """A TensorRT progress monitor: a bar for each phase that is under way, and a no to going on after an interrupt.

    TensorRT calls it from several threads; rich's Progress takes that.
    """
    tasks: dict[str, TaskID] = {}

    class Monitor(tensorrt.IProgressMonitor):  # type: ignore[name-defined,misc]  # the base exists only where TensorRT does
        def __init__(self) -> None:
            tensorrt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            depth = "  " if parent_phase else ""
            tasks[phase_name] = progress.add_task(f"{depth}{phase_name}", total=num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            if phase_name in tasks:
                progress.update(tasks[phase_name], completed=step + 1)
            return not cancellation.asked

        def phase_finish(self, phase_name: str) -> None:
            if phase_name in tasks:
                progress.remove_task(tasks.pop(phase_name))

    return Monitor()


@contextmanager
def build_progress() -> Iterator[Progress]:
    """Bars on standard error; nothing where it is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield progress
