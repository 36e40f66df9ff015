"""TensorRT's own log, in Python's logging."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from builder.errors import TensorRTError

if TYPE_CHECKING:
    from types import ModuleType

    import tensorrt as trt

logger = logging.getLogger("tensorrt")

VERBOSE = 5
"""Below DEBUG: TensorRT's most talkative level prints megabytes during one build."""


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
