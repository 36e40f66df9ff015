"""The tritonserver process: how it is put together, started, watched and ended."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from server import log, remains
from server.errors import ServerError
from server.ports import Ports
from server.wheel import Wheel

logger = logging.getLogger(__name__)

EXIT_TIMEOUT = 30
"""Seconds Triton gives running requests when it is asked to stop; its own default."""

_BACKENDS = Path(__file__).parent / "backends"
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy has no business on this machine
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class TritonServer:
    """An embedded Triton with explicitly loaded models; a context manager that leaves nothing behind.

    Args:
        wheel: the server's parts.
        repository: the model repository.
        models: the names to load.
        ports: where to listen.
        echo: pass Triton's log on to standard error as well.
        auto_complete: let Triton complete configurations from the models.
    """

    def __init__(
        self,
        wheel: Wheel,
        repository: Path,
        models: Sequence[str],
        ports: Ports,
        *,
        echo: bool = False,
        auto_complete: bool = False,
    ) -> None:
        self._wheel = wheel
        self._repository = repository.resolve()
        self._models = models
        self.ports = ports
        self._echo = echo
        self._auto_complete = auto_complete
        self._process: subprocess.Popen[bytes] | None = None
        self._directory: Path | None = None

    def __enter__(self) -> TritonServer:
        remains.remove_stale()
        self._directory = remains.make_working_directory()
        try:
            self._process = self._start(self._directory)
        except BaseException:
            remains.remove_own()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._end()
        finally:
            remains.remove_own()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running process."""
        if self._process is None:
            raise RuntimeError("the server has not been started")
        return self._process

    @property
    def log_text(self) -> str:
        """Triton's log so far."""
        return log.read(self._log_path) if self._directory else ""

    @property
    def _log_path(self) -> Path:
        if self._directory is None:
            raise RuntimeError("the server has not been started")
        return self._directory / "triton.log"

    def wait_until_ready(self, timeout: float) -> None:
        """Return when the server and all its models answer as ready.

        Args:
            timeout: seconds.

        Raises:
            ServerError: the server ended, or the time is up; with the reasons from its log.
        """
        deadline = time.monotonic() + timeout
        paths = ["/v2/health/ready", *(f"/v2/models/{model}/ready" for model in self._models)]
        while not all(self._answers(path) for path in paths):
            if self.process.poll() is not None:
                raise ServerError(self._why("Triton did not start"), "--verbose shows Triton's whole log")
            if time.monotonic() > deadline:
                raise ServerError(
                    self._why(f"Triton is not ready after {timeout:.0f} s"), "give it longer: --timeout SECONDS"
                )
            time.sleep(0.1)

    def check_alive(self) -> None:
        """Raise a ServerError when the process has ended."""
        code = self.process.poll()
        if code is not None:
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            raise ServerError(self._why(f"Triton {how} while serving"), "--verbose shows Triton's whole log")

    def _why(self, what: str) -> str:
        reasons = log.failures(self.log_text)[-5:]
        return f"{what}: {'; '.join(reasons)}" if reasons else what

    def _answers(self, path: str) -> bool:
        host = "127.0.0.1" if self.ports.host == "0.0.0.0" else self.ports.host  # noqa: S104  compared, not bound
        try:
            with _direct.open(f"http://{host}:{self.ports.http}{path}", timeout=2) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _start(self, directory: Path) -> subprocess.Popen[bytes]:
        backends = self._assemble_backends(directory)
        with self._log_path.open("wb") as file:
            return subprocess.Popen(  # noqa: S603  a fixed argument list
                self._command(backends),
                env=self._environment(directory),
                stdin=subprocess.DEVNULL,
                stdout=None if self._echo else file,
                stderr=None if self._echo else subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in the terminal reaches the launcher alone
                preexec_fn=_die_with_parent,
            )

    def _assemble_backends(self, directory: Path) -> Path:
        """Lay out the backend directory as Triton expects it; it refuses links that lead out of there."""
        backends = directory / "backends"
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(self._wheel.python_backend, backends / "python", ignore=ignore)
        shutil.copy2(self._wheel.stub, backends / "python" / self._wheel.stub.name)
        shutil.copytree(_BACKENDS / "onnxruntime", backends / "onnxruntime", ignore=ignore)
        libraries = directory / "lib"
        libraries.mkdir()
        (libraries / self._wheel.libpython_name).symlink_to(self._wheel.libpython)
        return backends

    def _command(self, backends: Path) -> list[str]:
        ports = self.ports
        return [
            str(self._wheel.tritonserver),
            f"--model-repository={self._repository}",
            f"--backend-directory={backends}",
            f"--backend-config=python,shm-region-prefix-name={remains.region_prefix()}",
            *(() if self._auto_complete else ("--disable-auto-complete-config",)),
            "--model-control-mode=explicit",
            *(f"--load-model={model}" for model in self._models),
            f"--http-address={ports.host}",
            f"--http-port={ports.http}",
            f"--grpc-address={ports.host}",
            f"--grpc-port={ports.grpc}",
            f"--metrics-address={ports.host}",
            f"--metrics-port={ports.metrics}",
            f"--exit-timeout-secs={EXIT_TIMEOUT}",
        ]

    def _environment(self, directory: Path) -> dict[str, str]:
        """The stub imports from the environment of the first `python3` on PATH: make that this interpreter's."""
        environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
        libraries = [str(directory / "lib"), str(self._wheel.libraries), os.environ.get("LD_LIBRARY_PATH", "")]
        environment["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, libraries))
        environment["PATH"] = os.pathsep.join([str(Path(sys.prefix) / "bin"), os.environ.get("PATH", os.defpath)])
        return environment

    def _end(self) -> None:
        """End the whole process group: politely, then by force; another Ctrl-C means by force at once."""
        process = self._process
        if process is None:
            return
        try:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(EXIT_TIMEOUT + 5)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            logger.warning("killing Triton: it was still running")
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its stubs too, which outlive a server that was killed
        process.wait()


def _die_with_parent() -> None:
    """Have the kernel end the server when its launcher is killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
