"""`python -m builder`: the command line. Each command imports what it needs when it runs, so help answers at once."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import re
import sys
from pathlib import Path

from builder.publishing import commands as publishing
from builder.publishing.kept_versions import KEPT_VERSIONS, SERVED_VERSIONS
from builder.quantization.calibration import CALIBRATION_IMAGES
from console import run
from console.numbers import TRITON_FIELD_MAX, between, count, whole

logger = logging.getLogger("builder")

DEFAULT_CHECKPOINT = Path(__file__).parent / "network" / "checkpoints" / "best.safetensors"
DEFAULT_REPOSITORY = Path("model_repository")
DEFAULT_MODELS = "resnet18_onnx,resnet18_onnx_int8,resnet18_tensorrt"


def parser() -> argparse.ArgumentParser:
    """The command line of `python -m builder`."""
    top = argparse.ArgumentParser(prog="python -m builder", description="Train, export and publish ResNet18.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_train(commands.add_parser("train", help="train the network and write runs/NAME"))
    _add_export(commands.add_parser("export", help="write a checkpoint as an ONNX file"))
    _add_calibrate(commands.add_parser("calibrate", help="measure a checkpoint's activations, to quantise it"))
    _add_build(commands.add_parser("build", help="export, verify and publish models into the model repository"))
    publishing.add_to(commands, DEFAULT_REPOSITORY)
    return top


def _add_train(command: argparse.ArgumentParser) -> None:
    command.add_argument("--recipe", default="best", help="baseline, teacher, assistant or best (default: %(default)s)")
    _add_data(command)
    command.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    command.add_argument("--epochs", type=whole, help="instead of the recipe's")
    command.add_argument("--batch-size", type=whole, help="images an update, instead of the recipe's")
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="another value for a field of the recipe (builder/training/recipes.py): --set cutmix=0.5; repeatable",
    )
    command.add_argument(
        "--teacher", type=Path, help="the checkpoint to learn from (default: one that the recipe trains first)"
    )
    command.add_argument("--seed", type=count, default=0)
    command.add_argument("--limit", type=whole, help="train on the first N images only, for a quick try")
    command.add_argument("--holdout", type=count, default=0, metavar="N", help="test on the last N training images")
    command.add_argument("--compile", action="store_true", help="use torch.compile (a GPU, 20 epochs or more)")
    command.add_argument("--resume", action="store_true", help="go on from the last finished epoch in --output")
    command.add_argument("--output", type=Path, help="the run's directory (default: runs/RECIPE)")
    command.set_defaults(run=train)


def _add_export(command: argparse.ArgumentParser) -> None:
    _add_checkpoint(command)
    command.add_argument("--output", type=Path, default=Path("resnet18.onnx"), help="default: %(default)s")
    command.set_defaults(run=export)


def _add_calibrate(command: argparse.ArgumentParser) -> None:
    _add_checkpoint(command)
    _add_data(command)
    command.add_argument(
        "--images",
        type=whole,
        default=CALIBRATION_IMAGES,
        help="training images to measure on, from the first on (default: %(default)s; 512 or more give steady ranges)",
    )
    command.add_argument("--output", type=Path, help="default: beside the checkpoint, where a build looks for it")
    command.set_defaults(run=calibrate)


def _add_build(command: argparse.ArgumentParser) -> None:
    _add_checkpoint(command)
    _add_data(command)
    command.add_argument(
        "--repository",
        type=Path,
        default=DEFAULT_REPOSITORY,
        help="default: %(default)s; models of TensorRT for RTX, which would end NVIDIA's container, go into the one "
        "beside it, named REPOSITORY_rtx",
    )
    command.add_argument(
        "--models", help=f"comma-separated (default: {DEFAULT_MODELS}, and the plan only where it can be built)"
    )
    command.add_argument(
        "--instances",
        metavar="N",
        help="of each model on each GPU, or on the CPU: N in every place, or PLACE=N[,PLACE=N] of cpu, gpu_container, "
        "gpu_embedded (default: 1, and 4 for ONNX models in gpu_container; gpu_embedded=2 keeps a GPU busier)",
    )
    command.add_argument(
        "--max-queue-size",
        type=between(0, TRITON_FIELD_MAX),
        default=0,
        metavar="N",
        help="requests that may wait in a model's queue before one more is refused (default: no bound; "
        "docs/model-repository.md); where there is no dynamic batching, Triton has no bound: ONNX models in "
        "gpu_container and config.pbtxt",
    )
    for name, default, text in (
        ("--keep", KEPT_VERSIONS, "versions of a model that stay, and the one served until now in any case"),
        ("--serve", SERVED_VERSIONS, "of the newest versions served side by side"),
    ):
        command.add_argument(
            name, type=between(1, TRITON_FIELD_MAX), default=default, metavar="N", help=f"{text} (default: %(default)s)"
        )
    command.add_argument(
        "--calibration", type=Path, help="for quantised models (default: NAME.calibration.json beside NAME.safetensors)"
    )
    _add_plan(command)
    command.set_defaults(run=build)


def _add_plan(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("TensorRT plans")
    group.add_argument("--require-tensorrt", action="store_true", help="fail where no plan can be built")
    publishing.add_release(group)
    group.add_argument(
        "--hardware-compatibility",
        choices=("none", "ampere_plus", "same_compute_capability"),
        default="none",
        help="on which GPUs the plan loads; all but none may cost speed (default: %(default)s)",
    )
    group.add_argument(
        "--compute-capability",
        type=_compute_capabilities,
        metavar="X.Y,…|all",
        help="TensorRT for RTX only: build for these GPUs, which need not be here (default: all, verified on this one)",
    )
    group.add_argument(
        "--version-compatible",
        action="store_true",
        help="newer TensorRTs of the same major version load the plan too; may cost speed, and Triton needs "
        "--backend-config=tensorrt,version-compatible=true",
    )
    text = "default: %(default)s"
    group.add_argument("--optimization-level", type=between(0, 5), default=3, metavar="0..5", help=text)
    group.add_argument("--workspace", type=between(1, 1 << 20), default=1024, metavar="MIB", help=text)
    group.add_argument("--timing-cache", type=Path, help="default: .cache/tensorrt/timing.cache")


def _compute_capabilities(text: str) -> tuple[str, ...]:
    """The compute capabilities of a list such as "8.6,8.9", each once; none for "all"."""
    named = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if named == ("all",):
        return ()
    if not named or not all(re.fullmatch(r"\d{1,2}\.\d", part) for part in named):
        raise argparse.ArgumentTypeError(f"expected compute capabilities, as in 8.6,8.9,12.0, or all; found '{text}'")
    return named


def _add_checkpoint(command: argparse.ArgumentParser) -> None:
    command.add_argument("--checkpoint", type=Path, default=DEFAULT_CHECKPOINT, help="default: the one that ships")


def _add_data(command: argparse.ArgumentParser) -> None:
    command.add_argument("--data", type=Path, help="CIFAR-10's directory (default: $CIFAR10_DIR, then data/)")


def train(arguments: argparse.Namespace) -> None:
    """Train a recipe and leave history, curves, checkpoint and model card."""
    from builder.errors import TrainingError
    from builder.training.recipes import changed, recipe_named
    from builder.training.run import Run
    from builder.training.teaching import taught
    from cifar10 import Split, load

    recipe = changed(recipe_named(arguments.recipe), arguments.set)
    changes = {"epochs": arguments.epochs, "batch_size": arguments.batch_size}
    recipe = dataclasses.replace(recipe, **{name: value for name, value in changes.items() if value is not None})
    training = load(Split.TRAIN, arguments.data)
    if arguments.holdout >= len(training.labels):
        expected = f"a whole number of 0 to {len(training.labels) - 1}"
        raise TrainingError(f"argument --holdout: expected {expected}, found '{arguments.holdout}'")
    if arguments.holdout:
        kept = len(training.labels) - arguments.holdout
        test = dataclasses.replace(training, images=training.images[kept:], labels=training.labels[kept:])
        training = training.head(kept)
    else:
        test = load(Split.TEST, arguments.data)
    if arguments.limit is not None:
        training = training.head(arguments.limit)
    run = Run(
        recipe=recipe,
        train=training,
        test=test,
        output=arguments.output or Path("runs") / recipe.name,
        device=arguments.device,
        seed=arguments.seed,
        resume=arguments.resume,
        compiled=arguments.compile,
        teacher=arguments.teacher,
    )
    checkpoint = taught(run).execute()
    logger.info("wrote %s", checkpoint)


def export(arguments: argparse.Namespace) -> None:
    """Write a checkpoint as ONNX, without publishing it."""
    from builder.export import onnx_export
    from builder.network import checkpoint
    from builder.signature import BATCH_SIZES
    from console.files import write_atomically

    content = onnx_export.export(checkpoint.load(arguments.checkpoint).classifier(), BATCH_SIZES)
    write_atomically(arguments.output, content)
    logger.info("wrote %s (%.1f MB)", arguments.output, len(content) / 1e6)


def calibrate(arguments: argparse.Namespace) -> None:
    """Measure the ranges of a checkpoint's activations on training images, and keep them beside it."""
    from builder.export import onnx_export
    from builder.network import checkpoint
    from builder.quantization import calibration, ranges
    from builder.signature import BATCH_SIZES
    from cifar10 import Split, load

    source = checkpoint.load(arguments.checkpoint)
    training = load(Split.TRAIN, arguments.data)
    output = arguments.output or calibration.beside(source.path)
    logger.info("calibrating on %d training images of %s", min(arguments.images, len(training)), training.name)
    full = onnx_export.export(source.classifier(), BATCH_SIZES)
    found = ranges.measure(full, source.sha256, training, count=arguments.images)
    calibration.save(output, found)
    logger.info("wrote %s (%d tensors, %s)", output, len(found.ranges), found.method)


def build(arguments: argparse.Namespace) -> None:
    """Build the models and publish them into the model repository."""
    from builder.network import checkpoint
    from builder.pipeline import build as build_models
    from builder.pipeline import images_for, verification_sample
    from builder.publishing.repository import Repository
    from builder.quantization.calibration_choice import choose as choose_calibration
    from builder.tensorrt.availability import choose
    from builder.triton_config.config_pbtxt import Scheduling, parse_instances
    from builder.triton_config.places import places_without_queue
    from builder.variants import variants_named
    from console.tensorrt_rtx import beside

    instances = parse_instances(arguments.instances) if arguments.instances is not None else {}
    scheduling = Scheduling(max_queue_size=arguments.max_queue_size, served_versions=arguments.serve, **instances)
    named = variants_named(DEFAULT_MODELS if arguments.models is None else arguments.models)
    repository = Repository(arguments.repository, arguments.keep, arguments.serve)
    source = checkpoint.load(arguments.checkpoint)
    required = arguments.require_tensorrt or arguments.models is not None
    variants, plans = choose(named, arguments, required=required)
    variants, calibration = choose_calibration(
        variants, source, arguments.calibration, arguments.data, required=arguments.models is not None
    )
    for variant in variants if scheduling.max_queue_size else ():
        if unbounded := places_without_queue(variant):
            files = ", ".join(place.file for place in unbounded)
            logger.info("%s: --max-queue-size has no effect in %s, without dynamic batching", variant.name, files)
    sample = verification_sample(arguments.data, max(images_for(variant) for variant in variants))
    for variant, published, parities in build_models(
        source, variants, repository, sample, scheduling=scheduling, plans=plans, calibration=calibration
    ):
        state = "published" if published.changed else "back to" if published.returned else "unchanged"
        if parities:
            worst = max(parity.max_abs_difference for parity in parities)
            agreement = min(parity.top1_agreement for parity in parities)
            found = f"largest logit difference {worst:.1e}, top-1 agreement {100 * agreement:.2f} %"
        else:
            found = f"NOT verified: {plans[variant.engine].unverified}; the server checks it when it loads it"
        logger.info("%s: %s version %d (%s)", variant.name, state, published.version, found)
    if any(variant.engine.in_container for variant in variants):
        logger.info("serve it with: make serve-local (no Docker) or make serve (NVIDIA's container)")
    if any(not variant.engine.in_container for variant in variants):
        logger.info(
            "serve TensorRT for RTX, which NVIDIA's container lacks, with: "
            ".venv-server/bin/python -m server --repository %s",
            beside(arguments.repository),
        )


if __name__ == "__main__":
    sys.exit(run(parser()))
