"""Lay the embedded Triton out in an image as NVIDIA's is: /opt/tritonserver with bin/, backends/ and lib/.

Done while the image is built, since a container's file system is read-only and what it may write cannot be executed.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from server.triton import backend_folders
from server.triton.wheel import Wheel, check_machine, find_wheel

BACKENDS = Path(__file__).parents[2] / "server" / "backends"

# A Python model's process imports from the environment of the first python3 on PATH. The wheel's libraries are for
# Triton alone: curl in the same container has its own.
SCRIPT = """#!/bin/sh
export PATH='{python}':"$PATH"
export LD_LIBRARY_PATH='{root}/lib:{libraries}'"${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"
exec '{tritonserver}' --backend-directory='{root}/backends' "$@"
"""


def lay_out(root: Path, wheel: Wheel) -> None:
    """Fill `root` with what `tritonserver` needs beside the wheel; Triton refuses links that lead out of backends/."""
    ignore = shutil.ignore_patterns("__pycache__")
    backends = root / "backends"
    shutil.copytree(wheel.python_backend, backends / "python", ignore=ignore)
    shutil.copy2(wheel.stub, backends / "python" / wheel.stub.name)
    for name, folders in backend_folders.present().items():
        for folder in folders:
            shutil.copytree(BACKENDS / folder, backends / name, ignore=ignore, dirs_exist_ok=True)
    (root / "lib").mkdir()
    (root / "lib" / wheel.libpython_name).symlink_to(wheel.libpython)
    script = root / "bin" / "tritonserver"
    script.parent.mkdir()
    python = Path(sys.prefix) / "bin"
    script.write_text(
        SCRIPT.format(python=python, root=root, libraries=wheel.libraries, tritonserver=wheel.tritonserver)
    )
    script.chmod(0o755)


if __name__ == "__main__":
    check_machine()
    lay_out(Path(sys.argv[1]), find_wheel())
