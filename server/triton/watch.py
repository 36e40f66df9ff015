"""Looking after a Triton that serves: its own end, and that of its models' processes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from server.errors import ServerError, one_line
from server.triton.deaths import Death
from server.triton.process import WHOLE_LOG, TritonServer

logger = logging.getLogger("server")

_PATIENCE = 5.0
"""Seconds in which Triton collects a process that died while it loaded the model, and tells who asked for it."""


class Watch:
    """What the launcher does while its server serves.

    Triton goes on calling a model ready whose process has died, and every request fails. So the model is loaded anew,
    once; where its process dies again, the server ends, as it would have with a backend in C++ at the first time. What
    the repository holds is loaded, as by a restart of the server; where that is refused (a bad version was published
    meanwhile), the version that served until now. Not the other way round: Triton would not see that the repository
    holds something else, and answer the next load from there with success and without doing anything.

    A process that dies while a client has its model loaded is the client's concern: Triton says why the load failed,
    and the version that was ready goes on serving.

    Args:
        server: a running one.
        timeout: seconds that loading a model may take.
    """

    def __init__(self, server: TritonServer, timeout: float) -> None:
        self._server = server
        self._timeout = timeout
        self._revived: dict[str, set[int]] = {}
        self._others: list[Death] = []
        self._loading: dict[Death, float] = {}
        self._given_up: set[Death] = set()
        self._replaced: list[tuple[list[int], float]] = []

    def check(self) -> None:
        """Look after everything; to be called several times a second.

        Raises:
            ServerError: Triton has ended, or a model's process has died twice.
        """
        self._server.check_process("while serving")
        for text in self._server.log.served_changed():
            logger.warning("warning: %s", one_line(self._server.in_user_s_words(text)))
        found, self._others = [*self._others, *self._server.deaths.new()], []
        self._loading = {death: since for death, since in self._loading.items() if self._server.deaths.still(death)}
        if found or self._loading:
            ready = self._server.frontend.ready_versions()
            if ready is None:  # a busy Triton: asked again at the next look
                self._others = found
                return
            self._sort(found, ready)
        self._end_replaced()

    def _sort(self, found: list[Death], ready: dict[str, set[str]]) -> None:
        """Revive models whose process has died while it served; wait for Triton where it is loading the model.

        Args:
            found: deaths that are new.
            ready: model -> the versions that Triton calls ready.
        """
        # One that Triton itself has ended, it has collected by the time that it answers; one that was replaced serves
        # nobody any more.
        replaced = {pid for pids, _ in self._replaced for pid in pids}
        real = [
            death for death in found
            if death.pid not in replaced and (not death.may_be_triton_s or self._server.deaths.still(death))
        ]  # fmt: skip
        now = time.monotonic()
        for death in [*_by_model(real, set(ready)), *self._loading]:
            if death.version in ready.get(death.model, ()) and not self._server.deaths.has_elder(death):
                self._loading.pop(death, None)
                self._revive(death, sorted(ready[death.model], key=int))
            elif now - self._loading.setdefault(death, now) > _PATIENCE:
                self._give_up(death, ready)

    def _give_up(self, death: Death, ready: dict[str, set[str]]) -> None:
        """Triton waits for a process that died before it could say a word, and would without an end."""
        self._server.stuck = True
        versions = sorted(ready.get(death.model, ()), key=int)
        what = death.sentence("at its start, and Triton waits for it without an end")
        if not versions:
            raise ServerError(what, WHOLE_LOG)
        if death not in self._given_up:
            self._given_up.add(death)
            logger.warning(
                "warning: %s; version %s serves on, and the model cannot be loaded again until the server is restarted",
                what,
                ", ".join(versions),
            )

    def _revive(self, death: Death, versions: list[str]) -> None:
        if death.pid in self._revived.get(death.model, ()):
            raise ServerError(death.sentence("while serving, for the second time"), _hint(death))
        self._server.stuck = True
        before = self._server.deaths.processes_of(death.model)
        logger.warning("warning: %s; loading the model anew from the repository, once", death.sentence("while serving"))
        frontend, model, which = self._server.frontend, death.model, _named(versions)
        config = frontend.loaded(model, versions)
        reason, died = self._load_anew(death, before, lambda: frontend.reload(model, self._timeout))
        if reason and config and not died:
            why = self._server.in_user_s_words(reason)
            logger.warning(
                "warning: model '%s' cannot be loaded as it was published (%s); loading %s, which served until now",
                model, one_line(why), which,
            )  # fmt: skip
            failed, _ = self._load_anew(death, before, lambda: frontend.load_as(model, config, self._timeout))
            reason = reason if failed else ""
        if reason:
            reason = self._server.in_user_s_words(reason)
            raise ServerError(f"model '{model}' could not be loaded anew: {reason}", _hint(death))
        self._revived[model] = set(self._server.deaths.processes_of(model)) - set(before)
        self._replaced.append((before, time.monotonic()))
        after = (frontend.ready_versions() or {}).get(model)
        served = f"{_named(sorted(after, key=int))}, before {which}" if after and after != set(versions) else which
        logger.info("model '%s' is ready again: %s", model, served)

    def _load_anew(self, death: Death, before: list[int], load: Callable[[], str]) -> tuple[str, bool]:
        """Have Triton load a model while looking after it.

        Args:
            death: of one of its processes.
            before: the model's processes so far; whichever of them dies too is of no interest.
            load: loads it; why it could not, or nothing.

        Returns:
            why it could not be loaded, or nothing; and whether there is no use in trying anything else.
        """
        result: list[str] = []
        loading = threading.Thread(target=lambda: result.append(load()), daemon=True)
        loading.start()
        deadline = time.monotonic() + self._timeout
        while loading.is_alive():
            self._server.check_process(f"while it loaded model '{death.model}' anew")
            for other in self._server.deaths.new():
                if other.model != death.model:
                    self._others.append(other)
                elif other.pid not in before:
                    return other.sentence("at its start"), True
            if time.monotonic() > deadline:
                return f"not ready after {self._timeout:.0f} s", True
            loading.join(0.1)
        return "".join(result), False

    def _end_replaced(self) -> None:
        """End what is left of a model that was loaded anew: a request that met a dead process holds the others back."""
        for pids, since in self._replaced:
            if time.monotonic() - since > _PATIENCE:
                self._server.deaths.end(pids)
        self._replaced = [(pids, since) for pids, since in self._replaced if time.monotonic() - since <= _PATIENCE]


def _by_model(deaths: list[Death], ready: set[str]) -> list[Death]:
    """One for each model, by its name: where its files came over the network, its process has an instance's."""
    found = {}
    for death in deaths:
        known = [name for name in sorted(ready, key=len) if death.model.startswith(f"{name}_")]
        model = known[-1] if known and death.model not in ready else death.model
        found[model] = replace(death, model=model)
    return list(found.values())


def _named(versions: list[str]) -> str:
    return f"version{'s' if len(versions) > 1 else ''} {', '.join(versions)}"


def _hint(death: Death) -> str:
    return "dmesg says whether the memory ran out" if "SIGKILL" in death.how else WHOLE_LOG
