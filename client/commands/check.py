"""`python -m client check`."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cifar10
from client import images, results
from client.checks.answers import known as known_answers
from client.checks.answers.batch_sizes import sizes
from client.checks.answers.check import Check
from client.checks.answers.known import Known
from client.commands import common
from client.connection import Connection, Model
from client.errors import ClientError
from client.report import terminal
from client.statistics import formatting
from console import GateError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

logger = logging.getLogger("client")


def main(arguments: argparse.Namespace) -> None:
    """Hold every answer against its own image's, model by model; show, write and judge what was found."""
    found: list[dict[str, Any]] = []
    with Connection(common.endpoint(arguments)) as connection:
        models = common.models(connection.control, arguments, [])
        path = common.output(arguments, "check", models)
        server = connection.control.server()
        prepared = [(model, *_known(arguments, model)) for model in models]
        stopped = common.collected(_checked(connection, prepared, arguments), found.append)
    if not found:
        raise stopped or ClientError("nothing was measured")
    settings = ("duration", "concurrency", "transport", "seed")
    result = results.document(
        "check",
        **common.partial(stopped),
        server=server,
        data={"name": images.SYNTHETIC_NAME},
        settings={name: getattr(arguments, name) for name in settings},
        models=[common.described(model, arguments) for model in models],
        checks=[{name: value for name, value in check.items() if name != "rows"} for check in found],
        rows=[row for check in found for row in check["rows"]],
        warnings=[warning for check in found for warning in _warnings(check)],
    )
    common.finish(path, result, terminal.print_check)
    if isinstance(stopped, KeyboardInterrupt):
        raise stopped
    _judge(result)
    if stopped is not None:
        raise stopped


def _checked(connection: Connection, prepared: list[Any], arguments: argparse.Namespace) -> Any:
    """Yield what was found of each model; of the last one also when something ends its check."""
    for model, pixels, known, allowed in prepared:
        planned = sizes(model.max_batch_size, connection.control.configured_sizes(model))
        check = Check(
            connection, model, pixels, known, planned, allowed=allowed, concurrency=arguments.concurrency,
            seconds=arguments.duration, seed=arguments.seed,
        )  # fmt: skip
        logger.info("checking %s: batch 1 to %d, up to %g s", model.label, planned[-1].images, arguments.duration)
        try:
            check.run()
        except (ClientError, KeyboardInterrupt):
            if summary := check.summary():
                yield summary
            raise
        summary = check.summary()
        if summary is None:
            raise ClientError(f"{model.label} answered none of the requests: {check.failure()}", "see the server's log")
        yield summary


def _known(arguments: argparse.Namespace, model: Model) -> tuple[NDArray[np.uint8], Known | None, float]:
    """The images to send, what is known of their answers, and how far right answers may be away."""
    source = results.provenance(arguments.repository, model) or {}
    allowed = arguments.tolerance or known_answers.allowed_by(source.get("precision"))
    path: Path | None = arguments.reference
    words_of_source = "a file"
    if path is None and arguments.repository is not None:
        beside = images.reference_path(arguments.repository, model)
        path, words_of_source = (beside if beside.exists() else None), "beside the model"
    if path is None:
        pixels = cifar10.synthetic_images(known_answers.ALONE_IMAGES)
        return pixels, None, allowed
    reference = images.load_reference(path)
    return reference.images, known_answers.from_reference(reference, words_of_source, allowed), allowed


def _warnings(check: dict[str, Any]) -> list[str]:
    reference, name = check["reference"], check["model"]
    sizes = ", ".join(str(size) for size in check["planned_not_reached"])
    checks = [
        (
            reference["file"] is None,
            f"no reference answers: held against what {reference['images']} images got when each was asked alone "
            "(--repository or --reference names better ones)",
        ),
        (
            reference["inseparable_pairs"] > 0,
            f"{reference['inseparable_pairs']:,} of {reference['pairs']:,} pairs of images cannot be told apart: their "
            f"answers differ by less than {formatting.number(reference['tolerance'] + reference['error'])}, "
            f"and right ones are up to {formatting.number(reference['error'])} away",
        ),
        (check["passed"] and bool(sizes), f"not checked for want of time: batch {sizes} (a longer --duration)"),
        (check["rejected"] > 0, f"{check['rejected']:,} of {check['requests']:,} requests were rejected by the queue"),
        (check["failed"] > 0, f"{check['failed']:,} of {check['requests']:,} requests failed: {check['failure']}"),
    ]
    return [f"{name}: {text}" for doubtful, text in checks if doubtful]


def _judge(result: dict[str, Any]) -> None:
    """End with what is wrong.

    Raises:
        GateError: answers belong to other requests or are wrong.
        ClientError: requests failed.
    """
    wrong = [check for check in result["checks"] if not check["passed"]]
    if wrong:
        several = f"{len(wrong)} of {len(result['checks'])} models answer wrong; " if len(wrong) > 1 else ""
        first = wrong[0]
        hint = "do not use its answers or its figures; the result holds every batch size"
        if _all_wrong(first):
            hint = "is it the version that the reference answers were made for? A coarse model needs --tolerance"
        raise GateError(f"{several}{first['model']}: {first['findings'][0]['text']}", hint)
    for check in result["checks"]:
        if check["failed"]:
            raise ClientError(
                f"{check['model']}: {check['failed']:,} of {check['requests']:,} requests failed: {check['failure']}",
                "see the server's log",
            )


def _all_wrong(check: dict[str, Any]) -> bool:
    """Whether no answer at all was near its reference: another model's reference rather than a fault."""
    kinds = {finding["kind"] for finding in check["findings"]}
    return kinds == {"wrong values"} and check["wrong_images"] > check["images"] / 2
