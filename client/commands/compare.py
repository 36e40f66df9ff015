"""`python -m client compare`."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from client import results
from client.commands import common
from client.commands.command_line import parser
from client.connection import Control, Model
from client.errors import RequestTimedOutError, ServerUnreachableError
from client.report.closing import closing as closing_sentence
from console import GateError, UserError

logger = logging.getLogger("client")

_SERVER_LOST = (ServerUnreachableError, RequestTimedOutError)
"""Errors after which the steps that are left would only fail one after the other."""


@dataclass(frozen=True)
class Step:
    """A command of the client as a part of the comparison.

    Attributes:
        name: the command; its result is NAME.json.
        options: of the command, from those of `compare`.
    """

    name: str
    options: Callable[[argparse.Namespace], list[str]]


STEPS = (
    Step("probe", lambda given: _given(given, "data")),
    Step("check", lambda given: [f"--duration={given.check_duration}", *_given(given, "tolerance")]),
    Step("accuracy", lambda given: [*_given(given, "data"), *_without_labels(given)]),
    Step("end-to-end", lambda given: [f"--rounds={given.rounds}", *_given(given, "data")]),
    Step(
        "latency",
        lambda given: [
            f"--rounds={given.rounds}",
            f"--duration={given.duration}",
            f"--batch-sizes={_listed(given.batch_sizes)}",
            f"--concurrency={_listed(given.concurrency)}",
            *_given(given, "data"),
            *_probed(given),
        ],
    ),
)
"""What a comparison does, in order: what a change of the batch size costs, in seconds; then wrong answers, because they
make every other figure worthless."""


def main(arguments: argparse.Namespace) -> None:
    """Check and measure every model in turn, then make the report of what was measured, whatever went wrong."""
    directory: Path = arguments.output
    results.check_writable(directory / "report.html")
    with closing(Control(common.endpoint(arguments))) as control:
        found = common.models(control, arguments, arguments.batch_sizes)
    models = [model.label for model in found]
    if not arguments.model and (left_out := on_cpu_beside_gpu(found)):
        models = [name for name in models if name not in left_out]
        logger.info("left out, on the CPU while others are on a GPU: %s (--model names them)", ", ".join(left_out))
    logger.info("comparing %s", ", ".join(models))
    failures: dict[str, UserError] = {}
    made: list[Path] = []
    interrupted: KeyboardInterrupt | None = None
    for step in STEPS:
        if step.name in arguments.skip:
            continue
        path = directory / f"{step.name}.json"
        path.unlink(missing_ok=True)  # an earlier comparison's would go into this one's report
        try:
            _run(step, models, path, arguments)
        except UserError as error:
            failures[step.name] = error
            logger.warning("%s: %s", step.name, error)
        except KeyboardInterrupt as stop:
            interrupted = stop
        made += [path] if path.exists() else []
        if interrupted or isinstance(failures.get(step.name), _SERVER_LOST):
            break
    if made:
        _report(made, arguments)
    if interrupted:
        raise interrupted
    _finish(failures)
    if last := closing_sentence([results.read(path) for path in made]):
        logger.info("%s", last)


def on_cpu_beside_gpu(models: list[Model]) -> list[str]:
    """Names of the models whose instances are all on the CPU, where another has instances on a GPU."""
    kinds = {model.label: set(model.configuration.get("instances", {})) for model in models}
    if not any("GPU" in found for found in kinds.values()):
        return []
    return [name for name, found in kinds.items() if found == {"CPU"}]


def _run(step: Step, models: list[str], path: Path, arguments: argparse.Namespace) -> None:
    logger.info("%s", step.name)
    named = [f"--model={name}" for name in models]
    shared = [*_given(arguments, "version", "repository"), *_server(arguments)]
    _call([step.name, *named, f"--output={path}", *shared, *step.options(arguments)])


def _report(made: list[Path], arguments: argparse.Namespace) -> None:
    _call(["report", f"--output={arguments.output}", *_run_of(arguments), "--", *map(str, made)])


def _call(line: list[str]) -> None:
    """Do what the command line would: each command keeps its own defaults and checks of its options."""
    arguments = parser().parse_args(line)
    arguments.run(arguments)


def _finish(failures: dict[str, UserError]) -> None:
    """End with what went wrong: wrong answers first, since they say that no figure counts.

    Raises:
        GateError: the check or another gate said no.
        UserError: a step could not be done.
    """
    gates = [name for name, error in failures.items() if isinstance(error, GateError)]
    for name in [*gates, *failures]:
        error = failures[name]
        others = [other for other in failures if other != name]
        more = f" ({', '.join(others)} failed too)" if others else ""
        kind = GateError if name in gates else UserError
        raise kind(f"{name}: {error}{more}", error.hint)


def _server(given: argparse.Namespace) -> list[str]:
    """The options of `options.add_connection`, as they were given."""
    named = _given(given, "transport", "timeout", "url", "tls_ca", "tls_cert", "tls_key")
    return named + [f"--header={name}:{value}" for name, value in given.header]


def _given(given: argparse.Namespace, *names: str) -> list[str]:
    """Options by their names, without those that were not given."""
    values = {name: getattr(given, name) for name in names}
    return [f"--{name.replace('_', '-')}={value}" for name, value in values.items() if value]


def _without_labels(given: argparse.Namespace) -> list[str]:
    return ["--fallback-synthetic", "--reference"] if given.fallback_synthetic else []


def _probed(given: argparse.Namespace) -> list[str]:
    path: Path = given.output / "probe.json"
    return [f"--probed={path}"] if path.exists() and "probe" not in given.skip else []


def _listed(values: list[int]) -> str:
    return ",".join(str(value) for value in values)


def _run_of(given: argparse.Namespace) -> list[str]:
    return [f"--run={given.training}"] if given.training else []
