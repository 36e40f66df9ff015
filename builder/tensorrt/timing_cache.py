"""TensorRT's timing cache: which kernel was fastest, kept so that the next build need not measure again."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from console.files import write_atomically

if TYPE_CHECKING:
    import tensorrt as trt

logger = logging.getLogger(__name__)

DEFAULT_PATH = Path(".cache") / "tensorrt" / "timing.cache"


def attach(config: trt.IBuilderConfig, path: Path | None) -> None:
    """Give a build the cache at `path`, or an empty one; only for a library that has timing caches.

    A cache of another GPU or another TensorRT is refused (its timings would choose wrong kernels), and so is a damaged
    one; a line says so.
    """
    if path is not None and path.is_file():
        kept: trt.ITimingCache | None = config.create_timing_cache(path.read_bytes())
        if kept is not None and config.set_timing_cache(kept, False):  # False: refuse what does not match
            logger.debug("timing cache: %s", path)
            return
        logger.info("the timing cache %s is damaged, or of another GPU or TensorRT; building without it, anew", path)
    empty: trt.ITimingCache = config.create_timing_cache(b"")
    config.set_timing_cache(empty, False)


def keep(config: trt.IBuilderConfig, path: Path | None) -> None:
    """Write what a finished build has measured; a disk that is full costs the next build its time, not this one."""
    if path is None:
        return
    cache: trt.ITimingCache | None = config.get_timing_cache()
    if cache is None:
        return
    content: trt.IHostMemory = cache.serialize()
    try:
        write_atomically(path, bytes(content))
    except OSError as error:
        logger.warning("warning: the timing cache is not kept: %s", error)
