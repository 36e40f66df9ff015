from __future__ import annotations

import argparse
import errno
import logging
import os

import pytest

from console import ExitCode, GateError, UserError, run


def command(action) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="try")
    commands = parser.add_subparsers(required=True)
    commands.add_parser("go").set_defaults(run=action)
    return parser


def raising(error):
    def action(_):
        raise error

    return action


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (UserError("no such model", "list them"), ExitCode.USER, "error: no such model\nhint: list them\n"),
        (
            UserError("0 is 'cat\r' and '\ufeffdog'\nof a\tfile", "rename\n'größe'"),
            ExitCode.USER,
            "error: 0 is 'cat\\r' and '\\ufeffdog'\\nof a\\tfile\nhint: rename\\n'größe'\n",
        ),
        (GateError("accuracy fell"), ExitCode.GATE, "error: accuracy fell\n"),
        (KeyboardInterrupt(), ExitCode.INTERRUPTED, "interrupted\n"),
        (
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "results/a.json"),
            ExitCode.USER,
            "error: [Errno 28] No space left on device: 'results/a.json'\n",
        ),
    ],
)
def test_every_foreseen_end_is_one_line_and_its_exit_code(capsys, error, code, said):
    assert run(command(raising(error)), ["go"]) == code
    assert capsys.readouterr().err == said


def test_a_line_on_the_way_is_one_line_too_and_a_traceback_keeps_its_lines(capsys):
    def go(_):
        logging.getLogger("client").info("left out: %s", "a\r\nb\ufeff")
        raise UserError("no\nsuch model")

    assert run(command(go), ["go", "--verbose"]) == ExitCode.USER
    first, *traceback, last = capsys.readouterr().err.splitlines()
    assert first == r"left out: a\r\nb\ufeff"
    assert len(traceback) > 3
    assert last == r"error: no\nsuch model"


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        run(command(lambda _: 1 / 0), ["go"])


def test_success_is_zero_and_a_command_may_return_its_own_code():
    assert run(command(lambda _: None), ["go"]) == 0
    assert run(command(lambda _: 3), ["go"]) == 3


@pytest.mark.parametrize("arguments", [["--verbose", "go"], ["go", "--verbose"]])
def test_verbose_shows_the_traceback_wherever_it_stands(capsys, arguments):
    run(command(raising(UserError("no such model"))), arguments)
    assert "Traceback" in capsys.readouterr().err


def test_a_wrong_option_is_the_users_to_change_not_a_gate():
    assert run(command(lambda _: None), ["go", "--nonsense"]) == ExitCode.USER
    assert run(command(lambda _: None), ["--help"]) == ExitCode.DONE
