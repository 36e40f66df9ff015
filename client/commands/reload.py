"""`python -m client reload`."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import time
from contextlib import closing

from client.commands import common
from client.connection import Control, Endpoint, versions
from client.connection.versions import State
from client.errors import ClientError, RequestTimedOutError, ServerUnreachableError

logger = logging.getLogger("client")

_QUESTION = 10.0
"""Seconds that a server may take to say what it serves: it knows that at once, however long a model takes to load."""

_UNCHANGED = "nothing changed: "
_KEPT = (
    "a server keeps what it has loaded until a model's files change, also a configuration that a client gave with a "
    "load of its own: if the repository holds another, touch the model's config.pbtxt and reload"
)


def main(arguments: argparse.Namespace) -> None:
    """Have a server load what was published: each model's versions before and after, a line each.

    Raises:
        ClientError: a model could not be loaded; says which version serves on, as the server says.
    """
    endpoint = common.endpoint(arguments)
    asking = dataclasses.replace(endpoint, timeout=min(endpoint.timeout, _QUESTION))
    with closing(Control(asking, ready=False)) as control, closing(Control(endpoint, ready=False)) as loading:
        names = _names(control, arguments.model)
        failed, unchanged = [], False
        for number, name in enumerate(names):
            try:
                became = _reload(control, loading, name)
                print(f"{name}: {became}")  # noqa: T201  the command's result
                unchanged |= became.startswith(_UNCHANGED)
            except ServerUnreachableError as error:
                left = f"; not tried: {', '.join(names[number + 1 :])}" if names[number + 1 :] else ""
                raise ServerUnreachableError(
                    f"the server went while it loaded model '{name}': {error}{left}", error.hint
                ) from None
            except versions.ModeError:
                raise
            except ClientError as error:
                failed.append((name, error))
                if len(names) > 1:
                    logger.info("%s: %s", name, error)
    if unchanged:
        # Triton does not say whose configuration it serves, and looks at the times of a model's files alone.
        logger.info(_KEPT)
    if len(names) == 1 and failed:
        raise ClientError(f"model '{names[0]}': {failed[0][1]}", failed[0][1].hint)
    if failed:
        listed = ", ".join(name for name, _ in failed)
        raise ClientError(f"{len(failed)} of {len(names)} models could not be loaded anew: {listed}", failed[0][1].hint)


def _names(control: Control, asked: list[str] | None) -> list[str]:
    """The models to load: those asked for, or all that are ready.

    Raises:
        ClientError: there are none, or the server has none of that name.
    """
    known, url = versions.states(control), control.endpoint.url
    names = list(dict.fromkeys(asked or [name for name, state in known.items() if state.ready]))
    if not names:
        raise ClientError(f"the server at {url} has no model ready", "name what to load: --model NAME")
    if missing := [name for name in names if name not in known]:
        raise ClientError(
            f"the server at {url} has no model '{missing[0]}'", f"its repository holds: {', '.join(known) or 'nothing'}"
        )
    return names


def _reload(control: Control, loading: Control, name: str) -> str:
    """Load one model; in words, what became of it.

    Raises:
        ClientError: it could not be loaded.
    """
    before = _state(control, name)
    configured = versions.configuration(control, name, before)
    begun = time.monotonic()
    try:
        versions.load(loading, name)
    except RequestTimedOutError:
        raise _late(control, name, before, loading.endpoint) from None
    except (ServerUnreachableError, versions.ModeError):
        raise
    except ClientError as error:
        raise _refused(control, name, before, error) from None
    took = f"{time.monotonic() - begun:.1f} s"
    after = _state(control, name)
    if not before.ready:
        return f"{after.words} is ready, none before ({took})"
    if before.ready != after.ready:
        return f"{after.words} in place of {before.words} ({took})"
    if configured != versions.configuration(control, name, after):
        return f"{after.words} as before, with another configuration ({took})"
    return f"{_UNCHANGED}{after.words} as before, with the same configuration"


def _state(control: Control, name: str) -> State:
    return versions.states(control).get(name, State(known=False, ready=()))


def _late(control: Control, name: str, before: State, endpoint: Endpoint) -> ClientError:
    """The time is up: what the server says now, if it says anything."""
    waited = f"not loaded within {endpoint.timeout:g} s"
    try:
        now = _state(control, name)
    except RequestTimedOutError:
        return ClientError(
            f"{waited}, and the server does not answer any more", "is it frozen, or too busy? See its log, and its host"
        )
    # What serves is asked for, not assumed: it may have become ready this moment.
    if now.ready and now.ready != before.ready:
        return ClientError(f"{waited}, but {now.words} is ready now", "give it longer: --timeout SECONDS")
    return ClientError(
        f"{waited}; {_serves(now)}; the server goes on loading, and serves the new one once it is ready",
        "ask again, and give it longer: --timeout SECONDS",
    )


def _refused(control: Control, name: str, before: State, error: ClientError) -> ClientError:
    now = _state(control, name)
    why = versions.reason(error)
    hint = error.hint
    if "failed to poll from model repository" in why:
        why = "its directory or configuration cannot be read"
        hint = "the server's log says what is wrong: publish it anew, or roll back"
    lost = f", before it was {before.words}" if before.ready and before.ready != now.ready else ""
    return ClientError(f"not loaded: {why}; {_serves(now)}{lost}", hint or "publish it anew, or roll back")


def _serves(state: State) -> str:
    return f"{state.words} {'serve' if len(state.ready) > 1 else 'serves'} on" if state.ready else "no version serves"
