"""Requests brought together into one batch, and the batch's outputs taken apart again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Inputs = dict[str, Array]


def groups(requests: Mapping[int, Inputs]) -> list[list[int]]:
    """Sort requests by what they must share to run as one batch: inputs, and shapes but for the batch dimension.

    Args:
        requests: number -> input name -> array.

    Returns:
        the numbers, group by group.
    """
    found: dict[Any, list[int]] = {}
    for number, inputs in requests.items():
        found.setdefault(tuple((name, array.shape[1:]) for name, array in inputs.items()), []).append(number)
    return list(found.values())


def join(parts: Sequence[Inputs]) -> Inputs:
    """Put requests one after another: no copy for a single one, one copy for several."""
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([inputs[name] for inputs in parts]) for name in parts[0]}


def sizes(parts: Sequence[Inputs]) -> list[int]:
    """The batch size of each request.

    Raises:
        ValueError: the inputs of one have different ones.
    """
    found = [{array.shape[0] for array in inputs.values()} for inputs in parts]
    for lengths in found:
        if len(lengths) != 1:
            raise ValueError(f"the inputs of a request must have one batch size, found {sorted(lengths)}")
    return [lengths.pop() for lengths in found]


def split(results: Mapping[str, Array], lengths: Sequence[int]) -> list[dict[str, Array]]:
    """Take a batch's outputs apart; the parts are views, not copies.

    Args:
        results: output name -> array of the whole batch.
        lengths: the batch size of each request.

    Raises:
        ValueError: an output does not have one row for each of the batch.
    """
    total = sum(lengths)
    for name, array in results.items():
        if array.shape[:1] != (total,):
            raise ValueError(f"output '{name}' has shape {list(array.shape)} for a batch of {total}")
    answers, start = [], 0
    for length in lengths:
        answers.append({name: array[start : start + length] for name, array in results.items()})
        start += length
    return answers


def to_text(array: Array) -> Array:
    """Triton's bytes as ONNX Runtime's text.

    A text ends at its first zero byte, as in the C++ backend, which hands ONNX Runtime C strings.

    Raises:
        ValueError: bytes that are not UTF-8, which ONNX Runtime's Python interface cannot carry.
    """
    texts = np.empty(array.size, np.object_)
    try:
        for index, value in enumerate(array.flat):
            texts[index] = bytes(value).split(b"\0", 1)[0].decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"element {index} is not UTF-8 text: {error}") from None
    return texts.reshape(array.shape)
