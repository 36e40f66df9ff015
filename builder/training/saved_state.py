"""The state an interrupted run leaves: read with suspicion, since a person or another version may have changed it."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from builder.errors import TrainingError
from builder.training.history import EpochRecord

STATE_KEYS = {"recipe", "seed", "records", "classifier", "optimizer", "average", "pretrained", "data", "teacher"}

OPTIMIZER_KEYS = {
    torch.optim.SGD: {"momentum_buffer"},
    torch.optim.Adam: {"step", "exp_avg", "exp_avg_sq"},
}
"""What an optimizer keeps for every parameter; all but `step`, a scalar, have the parameter's shape."""

_ANEW = "leave --resume out to start anew"
_MOST_FIELDS, _MOST_CHARACTERS = 6, 80
"""Of a sentence that says what differs: a state may hold anything."""


class _Nothing:
    def __repr__(self) -> str:
        return "nothing"


_NOTHING = _Nothing()
_UNFIT = (RuntimeError, ValueError, TypeError, KeyError, AttributeError, IndexError)


def read(path: Path, finished: Path) -> dict[str, Any]:
    """Read a state file; its parts are checked where they are used.

    Args:
        path: the file.
        finished: what a run leaves in its place when it has come to its end.

    Raises:
        TrainingError: it does not exist, cannot be read, or is not the state of a run.
    """
    if not path.is_file() and finished.is_file():
        raise TrainingError(
            f"nothing to resume: the run in {path.parent} is finished ({finished.name})",
            "use it as it is; for another run name another directory: --output DIR",
        )
    if not path.is_file():
        raise TrainingError(f"nothing to resume: {path} does not exist", "leave --resume out to start the run")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (*_UNFIT, pickle.UnpicklingError, EOFError):
        raise TrainingError(f"{path} is damaged", _ANEW) from None
    if not isinstance(state, dict) or not state.keys() >= STATE_KEYS:
        raise TrainingError(f"{path} is not the state of a training run", _ANEW)
    return state


@contextmanager
def fitting(part: str) -> Iterator[None]:
    """Say which part of the state is wrong when reading it fails in any of the ways that wrong values fail.

    Raises:
        TrainingError: it failed.
    """
    try:
        yield
    except _UNFIT as error:
        reason = " ".join(str(error).split())[:300]
        message = f"cannot resume: the state's {part} cannot be those of this run: {type(error).__name__}: {reason}"
        raise TrainingError(message, _ANEW) from None


def differences(saved: Any, mine: Any) -> str:
    """What sets a saved value apart from this run's, in words: of two dictionaries, the fields that differ alone."""
    if not isinstance(saved, dict) or not isinstance(mine, dict):
        return f"{_shown(saved)}, this one {_shown(mine)}"
    fields = [name for name in {**mine, **saved} if saved.get(name, _NOTHING) != mine.get(name, _NOTHING)]
    parts = [f"{name} {_shown(saved.get(name, _NOTHING))}, this one {_shown(mine.get(name, _NOTHING))}"
             for name in fields[:_MOST_FIELDS]]  # fmt: skip
    more = len(fields) - _MOST_FIELDS
    return "; ".join(parts) + (f"; and {more} more" if more > 0 else "")


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) and value.isprintable() else repr(value)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…"


def records(saved: Any, epochs: int) -> list[EpochRecord]:
    """The finished epochs, as `dataclasses.asdict` gave them.

    Raises:
        ValueError, TypeError: they are not those of epochs 1, 2, ... of a run of `epochs`.
    """
    found = [EpochRecord(**record) for record in saved]
    if [record.epoch for record in found] != list(range(1, len(found) + 1)) or not 1 <= len(found) <= epochs:
        raise ValueError(f"expected the epochs from 1 on, {epochs} at most; found {[record.epoch for record in found]}")
    for record in found:
        for name, value in dataclasses.asdict(record).items():
            if not isinstance(value, (int, float)):
                raise TypeError(f"{name} of epoch {record.epoch} must be a number; found {value!r}")
    return found


def optimizer_state(saved: Any, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """What to load into `optimizer`: the saved momenta, with the hyperparameters it already has from the recipe.

    PyTorch itself checks neither names nor shapes and would fail at the next update.

    Raises:
        ValueError, TypeError, KeyError: the momenta are not those of the optimizer's parameters.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    momenta = saved["state"]
    if sorted(momenta) != list(range(len(parameters))):
        raise ValueError(f"expected the values of {len(parameters)} parameters; found {len(momenta)}")
    names = OPTIMIZER_KEYS[type(optimizer)]
    for index, parameter in enumerate(parameters):
        values = momenta[index]
        if set(values) != names:
            raise ValueError(f"expected {sorted(names)} for every parameter; found {sorted(values)}")
        for name, value in values.items():
            shape = torch.Size() if name == "step" else parameter.shape
            if not isinstance(value, Tensor) or value.shape != shape:
                found = tuple(value.shape) if isinstance(value, Tensor) else value
                raise ValueError(f"{name} of parameter {index}: expected shape {tuple(shape)}; found {found}")
    return {"state": momenta, "param_groups": optimizer.state_dict()["param_groups"]}
