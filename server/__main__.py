"""`python -m server`: serve a model repository with the embedded Triton, in the foreground or around a command."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from console import ExitCode, run
from server.errors import ServerError
from server.models import Selection, select_models
from server.ports import reserve
from server.process import TritonServer
from server.wheel import check_machine, find_wheel

logger = logging.getLogger("server")

COMMAND_GRACE = 15
"""Seconds that the command gets to end by itself after an interrupt."""


def parser() -> argparse.ArgumentParser:
    """The command line of `python -m server`."""
    top = argparse.ArgumentParser(
        prog="python -m server",
        description="Serve a model repository with the embedded Triton (release 24.10, for development and tests).",
    )
    top.add_argument("--repository", type=Path, default=Path("model_repository"), help="default: %(default)s")
    top.add_argument("--load", action="append", default=[], metavar="MODEL", help="serve this model only; repeatable")
    text = "complete configurations that name no inputs or outputs from the models (Triton's own default)"
    top.add_argument("--auto-complete-config", action="store_true", help=text)
    top.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    for name, port in (("http", 8000), ("grpc", 8001), ("metrics", 8002)):
        text = f"port of {name} (default: %(default)s; 0 takes a free one)"
        top.add_argument(f"--{name}-port", type=int, default=port, help=text)
    top.add_argument("--timeout", type=float, default=120, help="seconds to wait for readiness (default: %(default)s)")
    top.add_argument("--ready-file", type=Path, help="write addresses and models here, as JSON, when ready")
    top.add_argument("command", nargs="*", metavar="-- COMMAND", help="run this while serving, then stop")
    top.set_defaults(run=serve)
    return top


def serve(arguments: argparse.Namespace) -> int:
    """Start the server, wait for the command, a signal or the server's end, and leave nothing behind."""
    check_machine()
    wheel = find_wheel()
    selection = select_models(arguments.repository, arguments.load, auto_complete=arguments.auto_complete_config)
    for name, reason in selection.left_out.items():
        logger.info("leaving out %s: %s", name, reason)
    if not arguments.host.startswith("127.") and arguments.host not in ("localhost", "::1"):
        logger.warning("warning: Triton 24.10 has known vulnerabilities; %s may be reachable by others", arguments.host)
    ports = reserve(arguments.host, arguments.http_port, arguments.grpc_port, arguments.metrics_port)
    with (
        _signals_interrupt(),
        TritonServer(
            wheel,
            arguments.repository,
            selection.served,
            ports,
            echo=arguments.verbose,
            auto_complete=arguments.auto_complete_config,
        ) as server,
    ):
        server.wait_until_ready(arguments.timeout)
        logger.info(
            "Triton serves %s at %s:%d (gRPC), http://%s:%d (HTTP), http://%s:%d/metrics",
            ", ".join(selection.served), ports.host, ports.grpc, ports.host, ports.http, ports.host, ports.metrics,
        )  # fmt: skip
        if arguments.ready_file:
            _write_ready_file(arguments.ready_file, server, selection)
        if arguments.command:
            return _run_beside(server, arguments.command)
        return _run_until_interrupted(server)


def _run_until_interrupted(server: TritonServer) -> int:
    logger.info("Ctrl-C stops it")
    try:
        while True:
            server.check_alive()
            time.sleep(0.2)
    except KeyboardInterrupt:
        logger.info("stopping")
        return ExitCode.DONE


def _run_beside(server: TritonServer, command: list[str]) -> int:
    """Run a command while the server serves, and return its exit code."""
    ports = server.ports
    environment = {
        **os.environ,
        "TRITON_URL": f"{ports.host}:{ports.grpc}",
        "TRITON_HTTP_URL": f"http://{ports.host}:{ports.http}",
        "TRITON_METRICS_URL": f"http://{ports.host}:{ports.metrics}/metrics",
    }
    try:
        process = subprocess.Popen(command, env=environment)  # noqa: S603  the user's own command
    except OSError as error:
        raise ServerError(f"cannot run {command[0]}: {error.strerror}") from None
    try:
        while process.poll() is None:
            server.check_alive()
            time.sleep(0.1)
    except BaseException:
        _end(process)
        raise
    code = process.returncode
    return 128 - code if code < 0 else code  # a shell's way to report a signal


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let a command that has seen the interrupt itself, or lost its server, finish; then ask, then force it."""
    for number in (None, signal.SIGTERM, signal.SIGKILL):
        if number is not None:
            process.send_signal(number)
        try:
            process.wait(COMMAND_GRACE)
        except subprocess.TimeoutExpired:
            continue
        return


def _write_ready_file(path: Path, server: TritonServer, selection: Selection) -> None:
    ports = server.ports
    content = {
        "pid": os.getpid(),
        "server_pid": server.process.pid,
        "http": f"{ports.host}:{ports.http}",
        "grpc": f"{ports.host}:{ports.grpc}",
        "metrics": f"{ports.host}:{ports.metrics}",
        "models": list(selection.served),
        "left_out": selection.left_out,
    }
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(content, indent=2) + "\n")
    temporary.replace(path)


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """Make SIGTERM and SIGHUP end the launcher as Ctrl-C does, so that every way out cleans up.

    A signal that is ignored stays so: that is how `nohup` asks to go on without a terminal.
    """

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    heeded = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is not signal.SIG_IGN]
    previous = {number: signal.signal(number, interrupt) for number in heeded}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(run(parser()))
