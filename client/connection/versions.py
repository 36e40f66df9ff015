"""Which versions of its models a server has ready, and having it load a model anew."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from client.connection.control import Control
from client.errors import ClientError, RequestFailedError, RequestTimedOutError

_STACK = re.compile(r"\s*At: \S+\(\d+\): .*$")
"""What Triton's Python backend appends to an error, in one line."""


_NOT_EXPLICIT = "explicit model load"
"""In Triton's words where it was started in the mode NONE or POLL."""

_INCOMPLETE = re.compile(
    r"configuration (names|expects) 0 (input|output)|unexpected platform type ''|"
    r"must specify (at least one |)'?(input|output|platform|backend|dims)",
    re.IGNORECASE,
)
"""Of a configuration that lacks what a server can take from the model: the words of its core and of its backends."""

_COMPLETE = (
    "the configuration, the repository's or the one that came with the load, must name every input and output; or "
    "start the server so that it completes them: python -m server --auto-complete-config, tritonserver without "
    "--disable-auto-complete-config"
)


class ModeError(ClientError):
    """The server takes no loads at all."""


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
        ModeError: the server takes no loads at all.
        ClientError: why it is not ready; the server's reason where it gives one, and what to do where that is known.
    """
    try:
        control.call("load_model", name)
    except RequestTimedOutError:
        raise
    except RequestFailedError as error:
        if _NOT_EXPLICIT in str(error):
            raise ModeError(
                f"the server at {control.endpoint.url} takes no loads: it is in the model control mode NONE or POLL",
                "start it with --model-control-mode=explicit, as python -m server does; in NONE a restart serves what "
                "was published, in POLL the server takes it by itself",
            ) from None
        raise RequestFailedError(str(error), error.hint or load_hint(str(error))) from None


def load_hint(text: str) -> str:
    """What to do about a model that is not loaded, where the server's words tell; else nothing."""
    return _COMPLETE if _INCOMPLETE.search(text) else ""


def reason(error: ClientError) -> str:
    """A refusal to load, without what says it again: the call, the state and the Python stack."""
    text = _STACK.sub("", str(error)).rstrip("; ")
    text = re.sub(r"^load failed for model '.*?': ", "", text)
    return re.sub(r" is at UNAVAILABLE state: (Internal: |Invalid argument: )?(TritonModelException: )?", ": ", text)
