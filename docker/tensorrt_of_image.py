"""Print the version of the TensorRT library that this system loads, as X.Y.Z; it asks the library itself.

Standard library only: it runs in NVIDIA's image before anything is installed there.
"""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
from pathlib import Path

_LIBRARY = r"libnvinfer\.so\.\d+"


def libraries() -> list[str]:
    """Every libnvinfer.so.N that the dynamic loader finds, once for each N."""
    named = [Path(entry) for entry in os.environ.get("LD_LIBRARY_PATH", "").split(":") if entry]
    found = {path.name for directory in named if directory.is_dir() for path in directory.iterdir()}
    cache = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=True)  # noqa: S607
    found |= {line.split()[0] for line in cache.stdout.splitlines() if "=>" in line}
    return sorted(name for name in found if re.fullmatch(_LIBRARY, name))


def version(library: str) -> str:
    """What a library says it is: major * 10000 + minor * 100 + patch, since TensorRT 10."""
    number = ctypes.CDLL(library).getInferLibVersion()
    return f"{number // 10000}.{number // 100 % 100}.{number % 100}"


if __name__ == "__main__":
    names = libraries()
    if len(names) != 1:
        sys.exit(f"error: expected one libnvinfer.so.N on this system; found {', '.join(names) or 'none'}")
    sys.stdout.write(version(names[0]) + "\n")
