"""TensorRT's own log, in Python's logging."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Any

from builder.errors import TensorRTError

if TYPE_CHECKING:
    from types import ModuleType

    import tensorrt as trt

logger = logging.getLogger("tensorrt")

VERBOSE = 5
"""Below DEBUG: TensorRT's most talkative level prints megabytes during one build."""


def begin_log(tensorrt: ModuleType) -> trt.ILogger:
    """The process's logger for a library, with no error in it: what is collected from here on belongs to the caller.

    TensorRT keeps one logger a process, the first that it was given, and passes over every other. So there is one.
    """
    log: Any = _only_logger(tensorrt)
    log.errors.clear()
    return log


@functools.cache
def _only_logger(tensorrt: ModuleType) -> trt.ILogger:
    return make_logger(tensorrt)


def make_logger(tensorrt: ModuleType) -> trt.ILogger:
    """A TensorRT logger that writes to the Python logger `tensorrt` and keeps the errors in its list `errors`.

    TensorRT reports failures by returning nothing and logging why, so whoever meets a failure reads `errors`. What
    TensorRT calls INFO is for its developers: it appears with --verbose.
    """
    levels = {
        tensorrt.ILogger.Severity.INTERNAL_ERROR: logging.ERROR,
        tensorrt.ILogger.Severity.ERROR: logging.ERROR,
        tensorrt.ILogger.Severity.WARNING: logging.WARNING,
        tensorrt.ILogger.Severity.INFO: logging.DEBUG,
        tensorrt.ILogger.Severity.VERBOSE: VERBOSE,
    }

    class RoutedLogger(tensorrt.ILogger):  # type: ignore[name-defined,misc]  # the base exists only where TensorRT does
        def __init__(self) -> None:
            tensorrt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
            level = levels[severity]
            if level == logging.ERROR:
                self.errors.append(msg.strip())
            logger.log(level, "TensorRT: %s", msg.strip())

    return RoutedLogger()


def errors_of(log: Any) -> str:
    """What a logger of `make_logger` has collected, as one line."""
    collected: list[str] = log.errors
    return "; ".join(dict.fromkeys(collected)) or "TensorRT gave no reason"


def remedy(reason: str, otherwise: str) -> str:
    """What to do about a failure: free memory where that is what TensorRT lacks."""
    if "memory" in reason.lower():
        return "free GPU memory (nvidia-smi shows who holds it), or lower --workspace, and try again"
    return otherwise


def create(kind: Any, log: Any) -> Any:
    """Make a TensorRT builder or runtime: `kind` is its class.

    Raises:
        TensorRTError: TensorRT could not start on this GPU (its bindings report that as a TypeError).
    """
    try:
        return kind(log)
    except TypeError as error:
        raise TensorRTError(
            f"TensorRT cannot start on this machine: {errors_of(log)} ({error})",
            "its CUDA version may be newer than the driver; `nvidia-smi` shows what the driver supports",
        ) from None
