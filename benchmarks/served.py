"""The embedded server, started for a benchmark."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]


@contextmanager
def embedded_server(repository: Path, *options: str):
    """Start the embedded server on free ports and yield its gRPC address."""
    with tempfile.TemporaryDirectory() as directory:
        ready = Path(directory) / "ready.json"
        command = [ROOT / ".venv-server/bin/python", "-m", "server", f"--repository={repository}", *options,
                   "--http-port=0", "--grpc-port=0", "--metrics-port=0", f"--ready-file={ready}"]  # fmt: skip
        process = subprocess.Popen(command, cwd=ROOT, start_new_session=True, stderr=subprocess.PIPE, text=True)
        try:
            while not ready.exists():
                if process.poll() is not None:
                    sys.exit(f"the server did not start: {process.stderr.read()}")
                time.sleep(0.1)
            yield json.loads(ready.read_text())["grpc"]
        finally:
            process.terminate()
            process.wait()
