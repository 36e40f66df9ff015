"""Numbers on a command line: what makes one good, and what is said of one that is not. For `type=` of argparse."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

_LONGEST = 365 * 24 * 60 * 60


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


def integer(text: str) -> int:
    """A whole number."""
    return int(number(text, int, lambda value: not math.isnan(value), "a whole number"))


def whole(text: str) -> int:
    """A whole number of 1 or more."""
    return int(number(text, int, lambda value: value >= 1, "a whole number of 1 or more"))


def count(text: str) -> int:
    """A whole number of 0 or more."""
    return int(number(text, int, lambda value: value >= 0, "a whole number of 0 or more"))


def seconds(text: str) -> float:
    """A time to wait; beyond some centuries sockets raise, threads do too, and gRPC is late at once."""
    expected = f"seconds, more than 0 and at most {_LONGEST} (a year)"
    return number(text, float, lambda value: 0 < value <= _LONGEST, expected)
