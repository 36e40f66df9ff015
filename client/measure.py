"""What the commands do: measure, show, write the result, and judge it."""

from __future__ import annotations

import argparse
import dataclasses
import logging
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from client import accuracy, images, load, results, statistics, tables
from client.errors import ClientError
from client.triton import Model, Triton
from console import GateError

if TYPE_CHECKING:
    from cifar10 import Dataset

logger = logging.getLogger("client")

AUTOMATIC_REFERENCE = "beside the model"
"""What `--reference` without a file holds."""

SYNTHETIC_NOTICE = "SYNTHETIC IMAGES: no accuracy is measured, only agreement with PyTorch"


def measure_accuracy(arguments: argparse.Namespace) -> None:
    """Classify the test images, compare with PyTorch's answers, or both."""
    output = _output(arguments, "accuracy")
    with closing(Triton(arguments.url, arguments.timeout)) as triton:
        model = _model(triton, arguments, [arguments.batch_size])
        path = arguments.reference
        if path is not None:
            path = images.reference_path(arguments.repository, model) if path == AUTOMATIC_REFERENCE else Path(path)
        reference = None if path is None else images.load_reference(path)
        dataset = _dataset(arguments)
        if dataset is None and reference is None:
            raise ClientError("without labels there is nothing to compare with", "add --reference")
        if dataset is None:
            logger.info(SYNTHETIC_NOTICE)
        measured = _classified(triton, model, arguments, dataset)
        compared = None if reference is None else _compared(triton, model, arguments, reference)
        result = _document(triton, model, arguments, "accuracy", data=_data(dataset), **measured, reference=compared)
    results.write(output, result)
    tables.print_accuracy(result)
    logger.info("wrote %s", output)
    if dataset is None:
        logger.info(SYNTHETIC_NOTICE)
    if compared and compared["top1_agreement"] < arguments.min_agreement:
        raise GateError(
            f"{100 * compared['top1_agreement']:.2f} % of the images got PyTorch's class; "
            f"--min-agreement asks for {100 * arguments.min_agreement:.2f} %"
        )


def measure_latency(arguments: argparse.Namespace) -> None:
    """Time requests in a closed loop, a row for every batch size and concurrency."""
    output = _output(arguments, "latency")
    with closing(Triton(arguments.url, arguments.timeout)) as triton:
        model = _model(triton, arguments, arguments.batch_size)
        name, pixels = images.unlabelled(arguments.data)
        rows = []
        for batch_size in arguments.batch_size:
            for concurrency in arguments.concurrency:
                logger.info("batch %d, %d in flight: %g s", batch_size, concurrency, arguments.duration)
                settings = load.Load(batch_size, concurrency, arguments.duration)
                rows.append(_row(settings, load.closed_loop(triton, model, pixels, settings)))
        result = _document(
            triton,
            model,
            arguments,
            "latency",
            data={"name": name},
            settings={"seconds": arguments.duration},
            rows=rows,
        )
    results.write(output, result)
    tables.print_latency(result)
    logger.info("wrote %s", output)


def _output(arguments: argparse.Namespace, command: str) -> Path:
    output: Path = arguments.output or Path("results") / f"{command}-{arguments.model}.json"
    results.check_writable(output)
    return output


def _model(triton: Triton, arguments: argparse.Namespace, batch_sizes: list[int]) -> Model:
    model = triton.model(arguments.model, arguments.version)
    for batch_size in batch_sizes:
        if batch_size > model.max_batch_size:
            raise ClientError(
                f"--batch-size {batch_size} is more than the {model.max_batch_size} images that {model.name} takes",
                "choose a smaller one",
            )
    return model


def _dataset(arguments: argparse.Namespace) -> Dataset | None:
    if arguments.synthetic:
        return None
    return images.labelled(arguments.data, arguments.limit, or_none=arguments.fallback_synthetic)


def _data(dataset: Dataset | None) -> dict[str, Any]:
    if dataset is None:
        return {"name": images.SYNTHETIC_NAME, "sha256": None}
    return {"name": dataset.name, "sha256": dataset.sha256}


def _classified(triton: Triton, model: Model, arguments: argparse.Namespace, dataset: Dataset | None) -> dict[str, Any]:
    settings = {"batch_size": arguments.batch_size, "concurrency": arguments.concurrency, "limit": arguments.limit}
    if dataset is None:
        return {"settings": settings, "accuracy": None, "seconds": None, "images_per_second": None}
    with tables.progress_bar(f"classifying with {model.name}", len(dataset)) as progress:
        answers = accuracy.classify(
            triton,
            model,
            dataset.images,
            batch_size=arguments.batch_size,
            concurrency=arguments.concurrency,
            progress=progress,
        )
    correct = int((answers.logits.argmax(axis=1) == dataset.labels).sum())
    return {
        "settings": settings,
        "accuracy": dataclasses.asdict(statistics.proportion(correct, len(dataset))),
        "seconds": answers.seconds,
        "images_per_second": answers.images_per_second,
    }


def _compared(
    triton: Triton, model: Model, arguments: argparse.Namespace, reference: images.Reference
) -> dict[str, Any]:
    batch_size, concurrency = arguments.batch_size, arguments.concurrency
    answers = accuracy.classify(triton, model, reference.images, batch_size=batch_size, concurrency=concurrency)
    found = statistics.agreement(answers.logits, reference.logits)
    return {
        "file": str(reference.path),
        "images": found.images,
        "top1_agreement": found.top1,
        "max_abs_difference": found.max_abs_difference,
    }


def _row(settings: load.Load, measured: load.LoadResult) -> dict[str, Any]:
    try:
        latency = statistics.latency_summary(measured.latencies_ms)
    except ValueError as error:
        failed = f"{measured.rejected} were rejected by its queue and {measured.failed} failed"
        raise ClientError(
            f"batch {settings.batch_size}, {settings.concurrency} in flight: {error}: {failed}", "see the server's log"
        ) from None
    return {
        "batch_size": settings.batch_size,
        "concurrency": settings.concurrency,
        "requests": len(measured.latencies_ms),
        "rejected": measured.rejected,
        "failed": measured.failed,
        "seconds": measured.seconds,
        "images_per_second": measured.images_per_second,
        "latency_ms": latency,
    }


def _document(
    triton: Triton, model: Model, arguments: argparse.Namespace, command: str, **content: Any
) -> dict[str, Any]:
    source = results.provenance(arguments.repository, model)
    described = {**dataclasses.asdict(model), "sha256": source and source["sha256"], "provenance": source}
    return results.document(command, server=triton.server(), model=described, **content)
