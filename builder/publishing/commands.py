"""The commands on what is published: look at it, check it, go back. None of them needs torch."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from console.numbers import count

logger = logging.getLogger("builder")


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser], repository: Path) -> None:
    """Add `inspect`, `versions`, `verify` and `rollback` to a command line.

    Args:
        commands: the command line's.
        repository: the default.
    """
    _add_inspect(commands.add_parser("inspect", help="say what a model is, and whether a Triton can load it"))
    listed = commands.add_parser("versions", help="list models and their versions: which is served, how good, how old")
    checked = commands.add_parser("verify", help="whether what lies there is what was published and answers as it did")
    for command in (listed, checked):
        command.add_argument("models", nargs="*", metavar="MODEL", help="default: all of the repository")
    listed.set_defaults(run=versions)
    checked.add_argument("--no-answers", dest="answers", action="store_false", help="compare files only")
    checked.set_defaults(run=verify)
    back = commands.add_parser("rollback", help="have an earlier version of a model served, or a later one again")
    back.add_argument("model", metavar="MODEL")
    back.add_argument("--to", type=count, metavar="N", help="the version (default: the one before the one served)")
    back.set_defaults(run=rollback)
    for command in (listed, checked, back):
        text = "default: %(default)s; the one for TensorRT for RTX beside it is looked at too"
        command.add_argument("--repository", type=Path, default=repository, help=text)


def add_release(command: argparse._ActionsContainer) -> None:
    """Add the options that say which Triton is to serve."""
    command.add_argument(
        "--triton-release", metavar="YY.MM", help="that will serve (default: $TRITON_RELEASE, then docker/.env)"
    )
    command.add_argument("--serving-tensorrt", metavar="X.Y.Z", help="TensorRT of the server, instead of a release's")


def _add_inspect(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "directory", type=Path, metavar="DIR", help="a model or a whole repository: model_repository/resnet18_tensorrt"
    )
    add_release(command)
    command.set_defaults(run=inspect)


def versions(arguments: argparse.Namespace) -> None:
    """List the versions of models."""
    from builder.publishing.listing import list_versions

    list_versions(arguments.repository, arguments.models)


def verify(arguments: argparse.Namespace) -> int:
    """Check that models are as published."""
    from builder.publishing.verifying import verify as verify_models

    return verify_models(arguments.repository, arguments.models, answers=arguments.answers)


def rollback(arguments: argparse.Namespace) -> None:
    """Have another version of a model served."""
    from builder.publishing.listing import models_in
    from builder.publishing.repository import Repository

    (model,) = models_in(arguments.repository, [arguments.model])
    found = Repository(model.parent).roll_back(model.name, arguments.to)
    if not found.changed:
        logger.info("%s: version %d is served already", model.name, found.version)
        return
    before = f" in place of {', '.join(map(str, found.before))}" if found.before else ""
    logger.info("%s: version %d is served%s, once a server loads it: make reload", model.name, found.version, before)
    if found.later:
        logger.info("it can be undone: rollback %s --to %d", model.name, found.later[-1])
    if not found.own_configuration:
        logger.info("version %d was published without its configuration: the one that was there stays", found.version)


def inspect(arguments: argparse.Namespace) -> int:
    """Say what published models are, which Triton can load them, and whether it answers right."""
    from builder.publishing.inspection import inspect_all
    from builder.tensorrt.availability import serving

    return inspect_all(arguments.directory, serving(arguments.triton_release, arguments.serving_tensorrt))
