"""The tritonserver process: how it is started, and ended."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from server.errors import ServerError
from server.triton import remains
from server.triton.deaths import Deaths, how_ended
from server.triton.frontend import Frontend
from server.triton.log import Log
from server.triton.ports import Ports
from server.triton.wheel import Wheel
from server.triton.workspace import Workspace

logger = logging.getLogger(__name__)

EXIT_TIMEOUT = 30
"""Seconds Triton gives running requests when it is asked to stop; its own default."""

_HURRY = 5
"""Seconds that it gets where it cannot end by itself."""

STUB_TIMEOUT = 300
"""Seconds that a model may take to load: TensorRT for RTX compiles its kernels then. Triton's own default is 30."""

CONFIG_NAME_VARIABLE = "TRITON_MODEL_CONFIG_NAME"
"""Tells the backends' processes the configuration's name, which Triton does not."""

ALLOW_CHANGED_VARIABLE = "TRITON_ALLOW_CHANGED"
"""Has the backends serve models whose files are not those that were published (provenance_check.py)."""

WHOLE_LOG = "--verbose shows Triton's whole log"

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class TritonServer:
    """An embedded Triton with explicitly loaded models; a context manager that leaves nothing behind.

    Args:
        wheel: the server's parts.
        repositories: the model repositories.
        models: the names to load.
        ports: where to listen.
        echo: pass Triton's log on to standard error as well.
        auto_complete: let Triton complete configurations from the models.
        config_name: which of a model's configurations is read; empty for config.pbtxt.
        allow_changed: serve models whose files are not those that were published.
    """

    def __init__(
        self,
        wheel: Wheel,
        repositories: Sequence[Path],
        models: Sequence[str],
        ports: Ports,
        *,
        echo: bool = False,
        auto_complete: bool = False,
        config_name: str = "",
        allow_changed: bool = False,
    ) -> None:
        self._wheel = wheel
        self._repositories = repositories
        self.models = tuple(models)
        self.ports = ports
        self.frontend = Frontend(ports)
        self._echo = echo
        self._auto_complete = auto_complete
        self._variables = {CONFIG_NAME_VARIABLE: config_name}
        if allow_changed:  # else what the environment says
            self._variables[ALLOW_CHANGED_VARIABLE] = "1"
        self._config_name = config_name
        self.stuck = False  # Triton waits for a process that is dead, and would for as long as it may when it ends
        self._process: subprocess.Popen[bytes] | None = None
        self._workspace: Workspace | None = None

    def __enter__(self) -> TritonServer:
        remains.remove_stale()
        self._start()
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

    def restart(self, models: Sequence[str]) -> None:
        """End Triton at once and start another with these models: it waits for a model that it cannot load."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.__exit__()
        self.models = tuple(models)
        self._start()

    def in_user_s_words(self, text: str) -> str:
        """A text of Triton's with the model repositories where it shows the launcher's links to them."""
        links = self._workspace.repositories if self._workspace else []
        for link, repository in reversed(list(zip(links, self._repositories, strict=True))):  # models_2 before models
            text = text.replace(str(link), str(repository))
        return text

    def check_process(self, when: str) -> None:
        """Raise a ServerError when the process has ended.

        Args:
            when: "while serving".
        """
        self.log.mark()
        code = self.process.poll()
        if code is not None:
            raise ServerError(self.in_user_s_words(self.log.why(f"Triton {how_ended(code)} {when}")), WHOLE_LOG)

    def _start(self) -> None:
        try:
            directory = remains.make_working_directory()
            workspace = Workspace(directory, self._wheel, self._repositories, keep_words=not self._echo)
            self._workspace = workspace
            self.deaths = Deaths(workspace.processes)
            self.log = Log(workspace.log)
            with workspace.log.open("wb") as file:
                self._process = subprocess.Popen(  # noqa: S603  a fixed argument list
                    self._command(workspace),
                    env={**workspace.environment(), **self._variables},
                    stdin=subprocess.DEVNULL,
                    stdout=None if self._echo else file,
                    stderr=None if self._echo else subprocess.STDOUT,
                    start_new_session=True,  # Ctrl-C in the terminal reaches the launcher alone
                    preexec_fn=_die_with_parent,
                )
        except BaseException:
            remains.remove_own()
            raise

    def _command(self, workspace: Workspace) -> list[str]:
        ports = self.ports
        # libevhtp, of HTTP and metrics, has a mark of its own for IPv6; to gRPC Triton gives HOST:PORT as it stands
        http = f"ipv6:{ports.host}" if ports.is_ipv6 else ports.host
        return [
            str(self._wheel.tritonserver),
            *(f"--model-repository={path}" for path in workspace.repositories),
            f"--backend-directory={workspace.backends}",
            f"--backend-config=python,shm-region-prefix-name={remains.region_prefix()}",
            f"--backend-config=python,stub-timeout-seconds={STUB_TIMEOUT}",
            *(() if self._auto_complete else ("--disable-auto-complete-config",)),
            "--model-control-mode=explicit",
            *((f"--model-config-name={self._config_name}",) if self._config_name else ()),
            *(f"--load-model={model}" for model in self.models),
            "--exit-on-error=false",  # a model that cannot be loaded is left out,
            "--strict-readiness=false",  # and the server is ready without it
            f"--http-address={http}",
            f"--http-port={ports.http}",
            f"--grpc-address={f'[{ports.host}]' if ports.is_ipv6 else ports.host}",
            f"--grpc-port={ports.grpc}",
            f"--metrics-address={http}",
            f"--metrics-port={ports.metrics}",
            f"--exit-timeout-secs={EXIT_TIMEOUT}",
        ]

    def _end(self) -> None:
        """End the whole process group: politely, then by force; another Ctrl-C means by force at once."""
        process = self._process
        if process is None:
            return
        try:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(_HURRY if self.stuck else EXIT_TIMEOUT + 5)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            logger.warning("killing Triton: it was still running")
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its stubs too, which outlive a server that was killed
        process.wait()


def _die_with_parent() -> None:
    """Have the kernel end the server when its launcher is killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
