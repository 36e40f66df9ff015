"""What the measuring commands have in common."""

from __future__ import annotations

import argparse
import dataclasses
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from client import results
from client.connection import Control, Endpoint, Model, Tls, Transport
from client.connection.endpoint import DEFAULT_PORT
from client.errors import ClientError, RequestTimedOutError, ServerUnreachableError

logger = logging.getLogger("client")


def endpoint(arguments: argparse.Namespace) -> Endpoint:
    """The server that the options name.

    Raises:
        ClientError: the address or a certificate is malformed.
    """
    transport = Transport(getattr(arguments, "transport", "grpc"))
    tls = Tls(arguments.tls_ca, arguments.tls_cert, arguments.tls_key) if arguments.tls_ca else None
    if tls is None and (arguments.tls_cert or arguments.tls_key):
        raise ClientError("--tls-cert and --tls-key need --tls-ca", "name the authority that signed the server's")
    url = arguments.url or f"127.0.0.1:{DEFAULT_PORT[transport]}"
    return Endpoint(
        url, transport, arguments.timeout, tls, tuple((name.lower(), value) for name, value in arguments.header)
    )


def models(control: Control, arguments: argparse.Namespace, batch_sizes: list[int]) -> list[Model]:
    """The models that the options name, or all that are ready, each of this project's signature.

    Raises:
        ClientError: one is not served, has other tensors, or takes fewer images than a batch.
    """
    if arguments.version and len(arguments.model or ()) != 1:
        raise ClientError("--version is for a single --model", "--model NAME:N, of which there can be several")
    if arguments.version:
        found = [control.model(arguments.model[0], arguments.version)]
    else:
        found = [control.named(text) for text in arguments.model] if arguments.model else _ours(control)
    _check_each_is_another(found)
    for model in found:
        if len(model.versions) > 1 and model.label == model.name:
            others = ", ".join(version for version in model.versions if version != model.version)
            logger.info("%s: version %s answers; --model NAME:N asks %s", model.name, model.version, others)
        for batch_size in batch_sizes:
            if batch_size > max(model.max_batch_size, 1):
                raise ClientError(
                    f"a batch of {batch_size} is more than the {model.max_batch_size} images that {model.label} takes",
                    "choose a smaller one",
                )
    return found


def _check_each_is_another(found: list[Model]) -> None:
    """Two names may mean one version: NAME, and NAME:N of the newest."""
    labels: dict[Model, str] = {}
    for model in found:
        if model in labels:
            also = f" (as {labels[model]})" if labels[model] != model.label else ""
            raise ClientError(f"--model {model.label} is named twice{also}", "name each version once")
        labels[model] = model.label


def _ours(control: Control) -> list[Model]:
    """The ready models that have this project's signature; the others are named and left out."""
    found = []
    for name in control.ready_models():
        try:
            found.append(control.model(name))
        except (ServerUnreachableError, RequestTimedOutError):
            raise  # nothing of this model: the others get no answer either
        except ClientError as error:
            logger.info("left out: %s", error)
    if not found:
        raise ClientError(f"the server at {control.endpoint.url} serves no model of this project", "make build-repo")
    return found


def output(arguments: argparse.Namespace, command: str, found: list[Model]) -> Path:
    """Where the result goes, checked before the measurement.

    Raises:
        ClientError: it cannot be written.
    """
    path: Path = arguments.output or results.default_path(command, [model.label for model in found])
    results.check_writable(path)
    return path


def described(model: Model, arguments: argparse.Namespace) -> dict[str, Any]:
    """A model as results describe it: `name` is its label, as in their rows, `model_name` what the server calls it."""
    source = results.provenance(arguments.repository, model)
    fields = dataclasses.asdict(model)
    fields |= {"name": fields.pop("label"), "model_name": model.name}
    return {**fields, "sha256": source and source.get("sha256"), "provenance": source}


def partial(stopped: BaseException | None) -> dict[str, Any]:
    """Whether a result is whole, and if not, why."""
    reason = None if stopped is None else str(stopped) or "interrupted"
    return {"complete": stopped is None, "stopped_by": reason}


def finish(path: Path, result: dict[str, Any], show: Callable[[dict[str, Any]], None]) -> None:
    """Write a result, show it, and say where it is."""
    results.write(path, result)
    show(result)
    logger.info("wrote %s", path)


def collected(items: Iterator[Any], keep: Callable[[Any], None]) -> BaseException | None:
    """Keep items until they end, an error comes or the user interrupts; returns what stopped it."""
    try:
        for item in items:
            keep(item)
    except (ClientError, KeyboardInterrupt) as error:
        return error
    return None
