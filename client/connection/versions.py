"""Which versions of its models a server has ready, and having it load a model anew."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from client.connection.control import Control
from client.errors import ClientError

_STACK = re.compile(r"\s*At: \S+\(\d+\): .*$")
"""What Triton's Python backend appends to an error, in one line."""


@dataclass(frozen=True)
class State:
    """What a server says of one model.

    Attributes:
        known: its repository holds the model, or it has loaded it.
        ready: the versions that answer, ascending.
        loading: a version is being loaded.
    """

    known: bool
    ready: tuple[str, ...]
    loading: bool = False

    @property
    def words(self) -> str:
        """As in "version 3" and "versions 3, 4"; "no version" where none is ready."""
        return f"version{'s' if len(self.ready) > 1 else ''} {', '.join(self.ready)}" if self.ready else "no version"


def states(control: Control) -> dict[str, State]:
    """Model name -> its state, for all that the server's repositories hold.

    Raises:
        ClientError: the server does not answer, or keeps its index for others.
    """
    entries = control.call("get_model_repository_index").models
    found = {}
    for name in sorted({entry.name for entry in entries}):
        own = [entry for entry in entries if entry.name == name]
        ready = {entry.version for entry in own if entry.state == "READY"}
        loading = any(entry.state == "LOADING" for entry in own)
        found[name] = State(True, tuple(sorted(ready, key=lambda text: (len(text), text))), loading)
    return found


def configuration(control: Control, name: str, state: State) -> Any:
    """What a ready model is configured with, `ModelConfig`; None for one that is not ready."""
    return control.call("get_model_config", name, state.ready[-1]).config if state.ready else None


def load(control: Control, name: str) -> None:
    """Have the server load a model; returns when it is ready.

    Raises:
        ClientError: why it is not; the server's reason where it gives one.
    """
    control.call("load_model", name)


def reason(error: ClientError) -> str:
    """A refusal to load, without what says it again: the call, the state and the Python stack."""
    text = _STACK.sub("", str(error)).rstrip("; ")
    text = re.sub(r"^load failed for model '.*?': ", "", text)
    return re.sub(r" is at UNAVAILABLE state: (Internal: |Invalid argument: )?(TritonModelException: )?", ": ", text)
