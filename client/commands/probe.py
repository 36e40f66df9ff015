"""`python -m client probe`."""

from __future__ import annotations

import argparse
import logging
from contextlib import closing
from typing import TYPE_CHECKING, Any

from client import images, results
from client.checks import plans_anew
from client.commands import common
from client.connection import Control
from client.errors import ClientError
from client.report import terminal

if TYPE_CHECKING:
    from client.connection import Model

logger = logging.getLogger("client")


def main(arguments: argparse.Namespace) -> None:
    """Ask every model the same sizes in turn; show and write what a change of the batch size costs."""
    endpoint = common.endpoint(arguments)
    with closing(Control(endpoint)) as control:
        models = common.models(control, arguments, [])
        server = control.server()
    path = common.output(arguments, "probe", models)
    name, pixels = images.unlabelled(arguments.data)
    found: list[dict[str, Any]] = []
    stopped = common.collected(plans_anew.probe_models(endpoint, models, pixels), found.append)
    if not found:
        raise stopped or ClientError("nothing was measured")
    result = document(arguments, server, name, models, found, stopped)
    common.finish(path, result, terminal.print_probe)
    if stopped is not None:
        raise stopped


def document(
    arguments: argparse.Namespace,
    server: dict[str, str],
    data: str,
    models: list[Model],
    found: list[dict[str, Any]],
    stopped: BaseException | None,
) -> dict[str, Any]:
    """The result of `main`."""
    return results.document(
        "probe",
        **common.partial(stopped),
        server=server,
        data={"name": data},
        settings={"sizes": list(plans_anew.SIZES), "cycles": plans_anew.CYCLES},
        models=[common.described(model, arguments) for model in models],
        rows=found,
        warnings=[plans_anew.sentence(entry) for entry in found if entry["plans_anew"] or entry["error"]],
    )
