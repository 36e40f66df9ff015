"""Files whose names are not ASCII.

Triton's process for Python models takes file names and texts for ASCII, whatever the environment says: it starts its
Python with `PyConfig_InitIsolatedConfig`. So a name from Triton becomes a path here, a path becomes a text again here,
and a text file is read here. Where file names are UTF-8 anyway, nothing changes.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def path_of(name: str) -> Path:
    """A file's name, as Triton and configurations have it, for Python's own functions."""
    return Path(os.fsdecode(name.encode("utf-8", "surrogateescape")))


def name_of(path: Path) -> str:
    """A path's name as text, for ONNX Runtime and for messages."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def read_text(path: Path) -> str:
    """What a file holds; bytes that are not UTF-8 are shown as escapes.

    Raises:
        OSError: it cannot be read.
    """
    return path.read_text(encoding="utf-8", errors="backslashreplace")


def sha256(path: Path) -> str:
    """The SHA-256 of what a file holds, in hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
