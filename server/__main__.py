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
from console.numbers import port, seconds
from server.errors import ServerError, one_line
from server.selection.models import Reason, Selection, select_models
from server.selection.places import CPU, NOT_ON_GPU, config_name, has_gpu
from server.triton.ports import Ports, reserve
from server.triton.process import TritonServer
from server.triton.readiness import wait_until_ready
from server.triton.watch import Watch
from server.triton.wheel import check_machine, find_wheel

logger = logging.getLogger("server")

DEFAULT_REPOSITORY = Path("model_repository")

COMMAND_GRACE = 15
"""Seconds that the command gets to end by itself after an interrupt."""


def parser() -> argparse.ArgumentParser:
    """The command line of `python -m server`."""
    top = argparse.ArgumentParser(
        prog="python -m server",
        description="Serve a model repository with the embedded Triton (release 24.10, for development and tests).",
    )
    text = "repeatable; models lie in the repository that their builder chose (default: model_repository)"
    top.add_argument("--repository", type=Path, action="append", metavar="DIR", help=text)
    top.add_argument("--load", action="append", default=[], metavar="MODEL", help="serve this model only; repeatable")
    text = "read configs/NAME.pbtxt of each model (default: gpu_embedded or cpu, by what is here; '': config.pbtxt)"
    top.add_argument("--model-config-name", metavar="NAME", help=text)
    text = "complete configurations that name no inputs or outputs from the models (Triton's own default)"
    top.add_argument("--auto-complete-config", action="store_true", help=text)
    text = "serve models whose files are not those that were published, each with a warning"
    top.add_argument("--allow-changed", action="store_true", help=text)
    top.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    for name, number in (("http", 8000), ("grpc", 8001), ("metrics", 8002)):
        text = f"port of {name} (default: %(default)s; 0 takes a free one)"
        top.add_argument(f"--{name}-port", type=port, default=number, help=text)
    top.add_argument(
        "--timeout", type=seconds, default=120, help="seconds to wait for readiness (default: %(default)s)"
    )
    top.add_argument("--ready-file", type=Path, help="write addresses and models here, as JSON, when ready")
    top.add_argument("command", nargs="*", metavar="-- COMMAND", help="run this while serving, then stop")
    top.set_defaults(run=serve)
    return top


def serve(arguments: argparse.Namespace) -> int:
    """Start the server, wait for the command, a signal or the server's end, and leave nothing behind."""
    check_machine()
    wheel = find_wheel()
    name_of_config = config_name(arguments.model_config_name)
    repositories = tuple(dict.fromkeys(arguments.repository or [DEFAULT_REPOSITORY]))
    selection = select_models(
        repositories, arguments.load, auto_complete=arguments.auto_complete_config, config_name=name_of_config
    )
    _say_configuration(arguments, name_of_config, selection)
    _say_left_out(selection.reasons)
    for name, faults in selection.faults.items():
        for fault in faults:
            if name in selection.reasons and fault in selection.reasons[name].hint:
                continue  # said already
            logger.warning("warning: %s: %s", one_line(name), one_line(fault))
    if not arguments.host.startswith("127.") and arguments.host not in ("localhost", "::1", "[::1]"):
        logger.warning("warning: Triton 24.10 has known vulnerabilities; %s may be reachable by others", arguments.host)
    ports = reserve(arguments.host, arguments.http_port, arguments.grpc_port, arguments.metrics_port)
    with (
        _signals_interrupt(),
        TritonServer(
            wheel,
            repositories,
            selection.served,
            ports,
            echo=arguments.verbose,
            auto_complete=arguments.auto_complete_config,
            config_name=name_of_config,
            allow_changed=arguments.allow_changed,
        ) as server,
    ):
        refused = wait_until_ready(server, arguments.timeout)
        selection = selection.without(refused)
        _say_left_out({name: Reason(text) for name, text in refused.items()})
        watch = Watch(server, arguments.timeout)
        logger.info(
            "Triton serves %s at %s (gRPC), http://%s (HTTP), http://%s/metrics",
            ", ".join(selection.served), ports.grpc_address, ports.http_address, ports.metrics_address,
        )  # fmt: skip
        if arguments.ready_file:
            _write_ready_file(arguments.ready_file, server, selection, name_of_config)
        if arguments.command:
            return _run_beside(watch, server.ports, arguments.command)
        return _run_until_interrupted(watch)


def _say_configuration(arguments: argparse.Namespace, name: str, selection: Selection) -> None:
    """Which configuration is read, and by which model another one; nothing where there is only config.pbtxt to read."""
    own, path = arguments.model_config_name is None, one_line(f"configs/{name}.pbtxt")
    if not name or set(selection.plain) == set(selection.served):
        if not own:
            logger.info("configuration: config.pbtxt%s", f" (no model has {path})" if name else "")
    else:
        rest = (
            f"; config.pbtxt of {', '.join(map(one_line, selection.plain))}, for want of it" if selection.plain else ""
        )
        logger.info("configuration: %s (%s)%s", path, "by what this machine has" if own else "as asked", rest)
    if name == CPU and own and has_gpu():
        logger.info(NOT_ON_GPU)


def _say_left_out(reasons: dict[str, Reason]) -> None:
    for name, reason in reasons.items():
        hint = f" ({reason.hint})" if reason.hint else ""
        logger.info("leaving out %s: %s", one_line(name), one_line(reason.text + hint))


def _run_until_interrupted(watch: Watch) -> int:
    logger.info("Ctrl-C stops it")
    try:
        while True:
            watch.check()
            time.sleep(0.2)
    except KeyboardInterrupt:
        logger.info("stopping")
        return ExitCode.DONE


def _run_beside(watch: Watch, ports: Ports, command: list[str]) -> int:
    """Run a command while the server serves, and return its exit code."""
    environment = {
        **os.environ,
        "TRITON_URL": ports.grpc_address,
        "TRITON_HTTP_URL": f"http://{ports.http_address}",
        "TRITON_METRICS_URL": f"http://{ports.metrics_address}/metrics",
    }
    try:
        process = subprocess.Popen(command, env=environment)  # noqa: S603  the user's own command
    except OSError as error:
        raise ServerError(f"cannot run {command[0]}: {error.strerror}") from None
    try:
        while process.poll() is None:
            watch.check()
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


def _write_ready_file(path: Path, server: TritonServer, selection: Selection, name_of_config: str) -> None:
    ports = server.ports
    content = {
        "pid": os.getpid(),
        "server_pid": server.process.pid,
        "http": ports.http_address,
        "grpc": ports.grpc_address,
        "metrics": ports.metrics_address,
        "models": list(selection.served),
        "model_config_name": name_of_config,
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
