"""Running a command line: parse, do, and turn every way it can end into an exit code."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from console.errors import ExitCode, UserError, visible


def run(parser: argparse.ArgumentParser, argv: Sequence[str] | None = None) -> int:
    """Parse `argv`, call the chosen command's `run` function and return its exit code.

    Each command sets its function with `set_defaults(run=...)`; it takes the parsed namespace and returns an exit
    code or None (done). `--verbose` is added here for all of them.

    Args:
        parser: the command line, with or without subcommands.
        argv: the arguments without the program's name; None reads `sys.argv`.

    Returns:
        An `ExitCode`, or what the command returned.
    """
    _add_verbose(parser, default=False)
    try:
        arguments = parser.parse_args(argv)
    except SystemExit as stop:  # argparse leaves with 2 on a wrong option, which here means "a gate said no"
        return ExitCode.USER if stop.code else ExitCode.DONE
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine("%(message)s"))
    logging.basicConfig(level=logging.DEBUG if arguments.verbose else logging.INFO, handlers=[handler], force=True)
    for noisy in ("matplotlib", "urllib3", "onnxscript", "onnx_ir", "torch.onnx", "PIL"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        return int(arguments.run(arguments) or ExitCode.DONE)
    except UserError as error:
        return _report(error, error.hint, error.exit_code, error)
    except KeyboardInterrupt as error:
        return _report("interrupted", "", ExitCode.INTERRUPTED, error)
    except BrokenPipeError:  # the reader of our output left (`| head`): nobody is there to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.USER
    except OSError as error:  # full disk, no permission: the system's own words name the file
        return _report(error, "", ExitCode.USER, error)


class _OneLine(logging.Formatter):
    """A message is one line, whatever the names in it hold; a traceback below it keeps its own."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's name
        return visible(super().formatMessage(record))


def _add_verbose(parser: argparse.ArgumentParser, *, default: object) -> None:
    """Accept --verbose before and after a subcommand's name; a subcommand that lacks it must not reset it."""
    text = "show debug log lines and tracebacks"
    parser.add_argument("--verbose", action="store_true", default=default, help=text)
    for action in parser._actions:  # argparse has no public way to list subparsers
        if isinstance(action, argparse._SubParsersAction):
            for subparser in set(action.choices.values()):
                _add_verbose(subparser, default=argparse.SUPPRESS)


def _report(message: object, hint: str, code: ExitCode, cause: BaseException) -> ExitCode:
    logger = logging.getLogger("console")
    logger.debug("traceback:", exc_info=cause)
    said = visible(str(message))
    print(said if code is ExitCode.INTERRUPTED else f"error: {said}", file=sys.stderr)  # noqa: T201
    if hint:
        print(f"hint: {visible(hint)}", file=sys.stderr)  # noqa: T201
    return code
