"""Waiting until Triton serves: every model is ready, or it is known why it is not."""

from __future__ import annotations

import time

from server.errors import ServerError
from server.triton.deaths import Death
from server.triton.frontend import ModelState
from server.triton.log import first_line
from server.triton.process import WHOLE_LOG, TritonServer

_PATIENCE = 5.0
"""Seconds in which Triton itself notices a process's death; earlier in its start, it waits for it without an end."""


def wait_until_ready(server: TritonServer, timeout: float) -> dict[str, str]:
    """Return when each of the server's models is ready or refused.

    Args:
        server: a running one.
        timeout: seconds.

    Returns:
        model -> why it is refused.

    Raises:
        ServerError: the server ended, or the time is up; with the reasons from its log.
    """
    deadline = time.monotonic() + timeout
    dead: dict[str, str] = {}
    since = 0.0
    while not server.frontend.live():
        for death in server.deaths.new():
            dead[death.model], since = death.sentence("at its start"), time.monotonic()
            _check_known(server, death)
        server.check_process("at its start")
        if since and time.monotonic() - since > _PATIENCE:
            left = [model for model in server.models if model not in dead]
            if not left:
                return dead
            server.restart(left)
            since = 0.0
        if time.monotonic() > deadline:
            server.stuck = True
            what = f"Triton is not ready after {timeout:.0f} s"
            raise ServerError(
                server.in_user_s_words(server.log.why(what, all_of_it=True)), "give it longer: --timeout SECONDS"
            )
        time.sleep(0.1)
    for death in server.deaths.new():
        dead[death.model] = death.sentence("at its start")
    while (states := server.frontend.states()) is None:
        server.check_process("at its start")
        if time.monotonic() > deadline:
            what = f"Triton does not say within {timeout:.0f} s which models it serves"
            raise ServerError(what, "give it longer: --timeout SECONDS")
        time.sleep(0.1)
    refused = {model: _why(server, model, states) for model in server.models if not _ready(states.get(model))}
    return {model: server.in_user_s_words(dead.get(model, reason)) for model, reason in (refused | dead).items()}


def _check_known(server: TritonServer, death: Death) -> None:
    """A step of an ensemble is loaded with it; which models go without that one, Triton alone knows."""
    if death.model not in server.models:
        raise ServerError(death.sentence("at its start"), WHOLE_LOG)


def _ready(state: ModelState | None) -> bool:
    return state is not None and state.ready


def _why(server: TritonServer, model: str, states: dict[str, ModelState]) -> str:
    if model in states and states[model].reason:
        return first_line(states[model].reason)
    logged = server.log.reason_for(model).removeprefix(f"failed to load model '{model}': ")
    return logged or "Triton did not load it; its log says why"
