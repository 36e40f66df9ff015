"""Numbers on command lines, of every command: what is refused, and in which words."""

from __future__ import annotations

import argparse
import subprocess
import sys

import pytest

from console import numbers
from tests.support.triton import ROOT

SECONDS = "seconds, more than 0 and at most 31536000 (a year)"


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (
            numbers.between(-3, 1000),
            {"0": 0, "-3": -3, " 7 ": 7, "1_000": 1000},
            ["", "x", "1.5", "nan", "0x10", "1001"],
        ),
        (numbers.whole, {"1": 1, "64": 64}, ["0", "-1", "x", "1.0", "", "nan"]),
        (numbers.count, {"0": 0, "5": 5}, ["-1", "x", "0.5", ""]),
        (numbers.port, {"0": 0, "65535": 65535}, ["-1", "65536", "http"]),
        (numbers.seconds, {"0.5": 0.5, "1e3": 1000.0}, ["0", "-1", "nan", "inf", "-inf", "x", "", "1s", "1e12"]),
        (numbers.seconds, {"31536000": 31536000.0, "1e-9": 1e-9}, ["31536001", "1e300", "9" * 400]),
    ],
)
def test_what_is_taken_and_what_is_refused(kind, good, bad):
    assert {text: kind(text) for text in good} == good
    for text in bad:
        with pytest.raises(argparse.ArgumentTypeError, match=f"found {text!r}$"):
            kind(text)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("server --timeout nan", f"argument --timeout: expected {SECONDS}, found 'nan'"),
        ("server --timeout -1", f"argument --timeout: expected {SECONDS}, found '-1'"),
        ("server --timeout inf", f"argument --timeout: expected {SECONDS}, found 'inf'"),
        ("server --http-port x", "argument --http-port: expected a whole number of 0 to 65535, found 'x'"),
        ("server --grpc-port 70000", "argument --grpc-port: expected a whole number of 0 to 65535, found '70000'"),
        ("server --metrics-port -1", "argument --metrics-port: expected a whole number of 0 to 65535, found '-1'"),
        ("builder rollback m --to x", "argument --to: expected a whole number of 0 or more, found 'x'"),
        ("builder rollback m --to -1", "argument --to: expected a whole number of 0 or more, found '-1'"),
        ("builder build --keep 1.5", "argument --keep: expected a whole number of 1 to 2147483647, found '1.5'"),
        ("builder build --keep 0", "argument --keep: expected a whole number of 1 to 2147483647, found '0'"),
        ("builder build --serve 0", "argument --serve: expected a whole number of 1 to 2147483647, found '0'"),
        (
            "builder build --serve 99999999999",
            "argument --serve: expected a whole number of 1 to 2147483647, found '99999999999'",
        ),
        (
            "builder build --max-queue-size -1",
            "argument --max-queue-size: expected a whole number of 0 to 2147483647, found '-1'",
        ),
        (
            "builder build --max-queue-size 2147483648",
            "argument --max-queue-size: expected a whole number of 0 to 2147483647, found '2147483648'",
        ),
        (
            "builder build --optimization-level 6",
            "argument --optimization-level: expected a whole number of 0 to 5, found '6'",
        ),
        (
            "builder build --workspace lots",
            "argument --workspace: expected a whole number of 1 to 1048576, found 'lots'",
        ),
        ("builder build --workspace 0", "argument --workspace: expected a whole number of 1 to 1048576, found '0'"),
        ("builder train --limit -5", "argument --limit: expected a whole number of 1 or more, found '-5'"),
        ("builder train --holdout -1", "argument --holdout: expected a whole number of 0 or more, found '-1'"),
        ("builder train --epochs many", "argument --epochs: expected a whole number of 1 or more, found 'many'"),
        ("builder train --epochs 0", "argument --epochs: expected a whole number of 1 or more, found '0'"),
        ("builder train --batch-size 0", "argument --batch-size: expected a whole number of 1 or more, found '0'"),
        ("builder train --seed -1", "argument --seed: expected a whole number of 0 or more, found '-1'"),
        ("builder calibrate --images x", "argument --images: expected a whole number of 1 or more, found 'x'"),
        ("builder calibrate --images 0", "argument --images: expected a whole number of 1 or more, found '0'"),
        ("client check --seed x", "argument --seed: expected a whole number of 0 or more, found 'x'"),
        ("client check --seed -1", "argument --seed: expected a whole number of 0 or more, found '-1'"),
        ("client check --concurrency 1", "argument --concurrency: expected a whole number of 2 or more, found '1'"),
        ("client accuracy --limit 0", "argument --limit: expected a whole number of 1 or more, found '0'"),
        ("client latency --timeout nan", f"argument --timeout: expected {SECONDS}, found 'nan'"),
        ("client latency --timeout 1e12", f"expected {SECONDS}, found '1e12'"),
        ("client check --duration 1e10", f"expected {SECONDS}, found '1e10'"),
        ("client analyze --model m --limit 1e10", f"expected {SECONDS}, found '1e10'"),
        ("server --timeout 1e12", f"expected {SECONDS}, found '1e12'"),
        ("client latency --rounds 0", "argument --rounds: expected a whole number of 1 or more, found '0'"),
    ],
)
def test_a_bad_number_is_one_line_before_anything_is_done(command, said, tmp_path):
    call = [sys.executable, "-m", *command.split()]
    done = subprocess.run(
        call, cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert said in done.stderr.splitlines()[-1]
    assert not list(tmp_path.iterdir())
