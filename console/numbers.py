"""Numbers on a command line: what makes one good, and what is said of one that is not. For `type=` of argparse.

Bounds are checked here and nowhere else: whoever takes the numbers relies on it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

TRITON_FIELD_MAX = 2**31 - 1
"""The most that a number in Triton's configuration holds: int32, as instance counts are."""

_LONGEST = 365 * 24 * 60 * 60
"""Seconds, a year: whoever means no limit names this much, and gRPC takes far more for a time that has passed."""


def number(text: str, convert: Callable[[str], float], good: Callable[[float], bool], expected: str) -> float:
    """A number that is good.

    Args:
        text: as it was given.
        convert: int or float.
        good: whether a value will do.
        expected: what will do, in words.

    Raises:
        argparse.ArgumentTypeError: it is no number, or not good.
    """
    try:
        value = convert(text)
    except ValueError:
        value = float("nan")
    if not good(value):
        raise argparse.ArgumentTypeError(f"expected {expected}, found {text!r}")
    return value


def between(low: int, high: int | None = None) -> Callable[[str], int]:
    """Whole numbers from `low` on, up to `high` where there is one."""
    expected = f"a whole number of {low} " + ("or more" if high is None else f"to {high}")

    def take(text: str) -> int:
        return int(number(text, int, lambda value: low <= value and (high is None or value <= high), expected))

    return take


whole = between(1)
"""A whole number of 1 or more."""

count = between(0)
"""A whole number of 0 or more."""

port = between(0, 65535)
"""A port of TCP; 0 for one that is free."""


def seconds(text: str) -> float:
    """A time to wait; beyond some centuries sockets raise, threads do too, and gRPC is late at once."""
    expected = f"seconds, more than 0 and at most {_LONGEST} (a year)"
    return number(text, float, lambda value: 0 < value <= _LONGEST, expected)
