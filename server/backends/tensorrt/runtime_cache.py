"""What TensorRT for RTX compiled at an earlier start, kept for the next one.

A file holds for one plan, library version, GPU and driver, which its name says. Several instances may write it at once.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

from configuration import Config, boolean, text
from cuda_calls import Gpu
from files import name_of

PARAMETER = "runtime_cache"
"""The entry of the configuration's `parameters` that switches the cache off; on where it is absent."""


class RuntimeCache:
    """A runtime cache in `$XDG_CACHE_HOME/tensorrt_rtx` (~/.cache/tensorrt_rtx).

    Args:
        config: the model's.
        plan: the model's file.
        version: of the library.
        gpu: where it runs.
    """

    def __init__(self, config: Config, plan: Path, version: str, gpu: Gpu) -> None:
        self._wanted = boolean(PARAMETER, text(config, PARAMETER) or "on")
        digest = hashlib.sha256(plan.read_bytes())
        digest.update(f"\0{version}\0{gpu.name}\0{gpu.capability}\0{gpu.driver}".encode())
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        self._path = root / "tensorrt_rtx" / f"{digest.hexdigest()}.cache"
        self._cache: Any = None
        self._read = b""

    def use(self, runtime_config: Any) -> None:
        """Have a runtime configuration compile into the cache, after what is in it already."""
        if not self._wanted or not hasattr(runtime_config, "create_runtime_cache"):
            return
        if self._cache is None:
            self._cache = runtime_config.create_runtime_cache()
            try:
                self._read = self._path.read_bytes()
            except OSError:
                self._read = b""
            if self._read and not self._cache.deserialize(self._read):
                self._read = b""  # of another driver, or damaged: compile again, and replace it
        runtime_config.set_runtime_cache(self._cache)

    def save(self) -> str:
        """Write what was compiled since; whole or not at all.

        Returns:
            what happened, for the log; empty where nothing did.
        """
        if self._cache is None:
            return ""
        content = bytes(self._cache.serialize())
        if self._read and len(content) == len(self._read):  # its entries change their order from start to start
            return f"its kernels came from {name_of(self._path)}"
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, temporary = tempfile.mkstemp(dir=self._path.parent)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(content)
                Path(temporary).replace(self._path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
        except OSError as error:
            return f"its kernels were compiled, and will be again at the next start: {error}"
        return f"its kernels were compiled and kept in {name_of(self._path)}"
