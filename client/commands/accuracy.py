"""`python -m client accuracy`."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from client import images, results
from client.commands import common
from client.connection import Connection, Model
from client.errors import ClientError
from client.load import classification
from client.load.classification import Classification
from client.report import terminal
from client.statistics import estimates
from console import GateError

if TYPE_CHECKING:
    from cifar10 import Dataset

logger = logging.getLogger("client")

AUTOMATIC_REFERENCE = "beside the model"
"""What `--reference` without a file holds."""

SYNTHETIC_NOTICE = "SYNTHETIC IMAGES: no accuracy is measured, only agreement with PyTorch"


def main(arguments: argparse.Namespace) -> None:
    """Classify the test images with every model, compare them with each other and with PyTorch's answers."""
    if arguments.max_accuracy_drop is not None and arguments.model and len(arguments.model) < 2:
        raise ClientError("--max-accuracy-drop compares models", "name a second --model")
    with Connection(common.endpoint(arguments)) as connection:
        models = common.models(connection.control, arguments, [arguments.batch_size])
        path = common.output(arguments, "accuracy", models)
        references = {model.label: _reference(arguments, model) for model in models}
        dataset = _dataset(arguments)
        if dataset is None and not all(references.values()):
            raise ClientError("without labels there is nothing to compare with", "add --reference")
        if dataset is None:
            logger.info(SYNTHETIC_NOTICE)
        measured: list[dict[str, Any]] = []
        measure = _measure(connection, models, arguments, dataset, references)
        stopped = common.collected(measure, measured.append)
        if not measured:
            raise stopped or ClientError("nothing was measured")
        result = results.document(
            "accuracy",
            **common.partial(stopped),
            server=connection.control.server() if stopped is None else None,
            data=_data(dataset),
            settings={name: getattr(arguments, name) for name in ("batch_size", "concurrency", "limit", "transport")},
            models=measured,
        )
    common.finish(path, result, terminal.print_accuracy)
    if dataset is None:
        logger.info(SYNTHETIC_NOTICE)
    if stopped is not None:
        raise stopped
    _judge(result, arguments)


def _measure(
    connection: Connection,
    models: list[Model],
    arguments: argparse.Namespace,
    dataset: Dataset | None,
    references: dict[str, images.Reference | None],
) -> Any:
    """Yield what was found of each model."""
    sizes: dict[str, Any] = {"batch_size": arguments.batch_size, "concurrency": arguments.concurrency}
    first: Classification | None = None
    for model in models:
        found: dict[str, Any] = {**common.described(model, arguments), "accuracy": None, "paired": None}
        if dataset is not None:
            if arguments.labels_from_server:
                classification.check_class_names(connection, model, dataset.images[0])
            with terminal.progress_bar(f"classifying with {model.label}", len(dataset)) as progress:
                answers = classification.classify(connection, model, dataset.images, **sizes, progress=progress)
            found |= classification.scored(answers, dataset)
            if first is not None:
                found["paired"] = {
                    "baseline": models[0].label,
                    **classification.compared(answers, first, dataset.labels),
                }
            first = first or answers
        reference = references[model.label]
        found["reference"] = None if reference is None else _compared(connection, model, reference, sizes)
        yield found


def _compared(
    connection: Connection, model: Model, reference: images.Reference, sizes: dict[str, Any]
) -> dict[str, Any]:
    answers = classification.classify(connection, model, reference.images, **sizes)
    found = estimates.agreement(answers.logits, reference.logits)
    return {
        "file": str(reference.path),
        "images": found.images,
        "top1_agreement": found.top1,
        "max_abs_difference": found.max_abs_difference,
    }


def _reference(arguments: argparse.Namespace, model: Model) -> images.Reference | None:
    path = arguments.reference
    if path is None:
        return None
    return images.load_reference(
        images.reference_path(arguments.repository, model) if path == AUTOMATIC_REFERENCE else Path(path)
    )


def _dataset(arguments: argparse.Namespace) -> Dataset | None:
    if arguments.synthetic:
        return None
    return images.labelled(arguments.data, arguments.limit, or_none=arguments.fallback_synthetic)


def _data(dataset: Dataset | None) -> dict[str, Any]:
    if dataset is None:
        return {"name": images.SYNTHETIC_NAME, "sha256": None, "images": None}
    return {"name": dataset.name, "sha256": dataset.sha256, "images": len(dataset)}


def _judge(result: dict[str, Any], arguments: argparse.Namespace) -> None:
    """Apply the gates.

    Raises:
        GateError: a model is below one.
    """
    limit = 100 * arguments.min_agreement
    for model in result["models"]:
        reference, paired = model["reference"], model["paired"]
        agreements = [(reference["top1_agreement"], "PyTorch")] if reference else []
        agreements += [(paired["top1_agreement"]["value"], paired["baseline"])] if paired else []
        for value, other in agreements:
            if 100 * value < limit:
                raise GateError(
                    f"{model['name']}: {100 * value:.2f} % of the images got the class of {other}; "
                    f"--min-agreement asks for {limit:.2f} %"
                )
        drop = -100 * paired["difference"]["value"] if paired else 0.0
        if arguments.max_accuracy_drop is not None and drop > arguments.max_accuracy_drop:
            raise GateError(
                f"{model['name']} is {drop:.2f} points less accurate than {paired['baseline']}; "
                f"--max-accuracy-drop allows {arguments.max_accuracy_drop:.2f}"
            )
