"""`python -m builder`: the command line. Each command imports what it needs when it runs, so help answers at once."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import sys
from pathlib import Path

from console import run

logger = logging.getLogger("builder")

DEFAULT_CHECKPOINT = Path(__file__).parent / "checkpoints" / "best.safetensors"
DEFAULT_REPOSITORY = Path("model_repository")
DEFAULT_MODELS = "resnet18_onnx,resnet18_tensorrt"


def parser() -> argparse.ArgumentParser:
    """The command line of `python -m builder`."""
    top = argparse.ArgumentParser(prog="python -m builder", description="Train, export and publish ResNet18.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_train(commands.add_parser("train", help="train the network and write runs/NAME"))
    _add_export(commands.add_parser("export", help="write a checkpoint as an ONNX file"))
    _add_build(commands.add_parser("build", help="export, verify and publish models into the model repository"))
    _add_inspect(commands.add_parser("inspect", help="say what a model is, and whether a Triton can load it"))
    return top


def _add_train(command: argparse.ArgumentParser) -> None:
    command.add_argument("--recipe", default="best", help="baseline or best (default: %(default)s)")
    _add_data(command)
    command.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    command.add_argument("--epochs", type=int, help="instead of the recipe's")
    command.add_argument("--batch-size", type=int, help="images an update, instead of the recipe's")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--limit", type=int, help="train on the first N images only, for a quick try")
    command.add_argument("--holdout", type=int, default=0, metavar="N", help="test on the last N training images")
    command.add_argument("--compile", action="store_true", help="use torch.compile (a GPU, 20 epochs or more)")
    command.add_argument("--resume", action="store_true", help="go on from the last finished epoch in --output")
    command.add_argument("--output", type=Path, help="the run's directory (default: runs/RECIPE)")
    command.set_defaults(run=train)


def _add_export(command: argparse.ArgumentParser) -> None:
    _add_checkpoint(command)
    command.add_argument("--output", type=Path, default=Path("resnet18.onnx"), help="default: %(default)s")
    command.set_defaults(run=export)


def _add_build(command: argparse.ArgumentParser) -> None:
    _add_checkpoint(command)
    _add_data(command)
    command.add_argument("--repository", type=Path, default=DEFAULT_REPOSITORY, help="default: %(default)s")
    command.add_argument(
        "--models", help=f"comma-separated (default: {DEFAULT_MODELS}, and the plan only where it can be built)"
    )
    command.add_argument(
        "--instances",
        type=int,
        default=1,
        metavar="N",
        help="of each model on each GPU, or on the CPU (default: %(default)s; 2 keep a GPU busier)",
    )
    command.add_argument(
        "--max-queue-size",
        type=int,
        default=0,
        metavar="N",
        help="requests that may wait in a model's queue before one more is refused (default: no bound; see README)",
    )
    _add_plan(command)
    command.set_defaults(run=build)


def _add_plan(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("TensorRT plans")
    group.add_argument("--require-tensorrt", action="store_true", help="fail where no plan can be built")
    _add_release(group)
    group.add_argument(
        "--hardware-compatibility",
        choices=("none", "ampere_plus", "same_compute_capability"),
        default="none",
        help="on which GPUs the plan loads; all but none may cost speed (default: %(default)s)",
    )
    group.add_argument(
        "--version-compatible",
        action="store_true",
        help="newer TensorRTs of the same major version load the plan too; may cost speed, and Triton needs "
        "--backend-config=tensorrt,version-compatible=true",
    )
    group.add_argument("--optimization-level", type=int, default=3, metavar="0..5", help="default: %(default)s")
    group.add_argument("--workspace", type=int, default=1024, metavar="MIB", help="default: %(default)s")
    group.add_argument("--timing-cache", type=Path, help="default: .cache/tensorrt/timing.cache")


def _add_release(command: argparse._ActionsContainer) -> None:
    command.add_argument(
        "--triton-release", metavar="YY.MM", help="that will serve (default: $TRITON_RELEASE, then docker/.env)"
    )
    command.add_argument("--serving-tensorrt", metavar="X.Y.Z", help="TensorRT of the server, instead of a release's")


def _add_inspect(command: argparse.ArgumentParser) -> None:
    command.add_argument("directory", type=Path, metavar="MODEL_DIR", help="as in model_repository/resnet18_tensorrt")
    _add_release(command)
    command.set_defaults(run=inspect)


def _add_checkpoint(command: argparse.ArgumentParser) -> None:
    command.add_argument("--checkpoint", type=Path, default=DEFAULT_CHECKPOINT, help="default: the one that ships")


def _add_data(command: argparse.ArgumentParser) -> None:
    command.add_argument("--data", type=Path, help="CIFAR-10's directory (default: $CIFAR10_DIR, then data/)")


def train(arguments: argparse.Namespace) -> None:
    """Train a recipe and leave history, curves, checkpoint and model card."""
    from builder.errors import TrainingError
    from builder.recipes import recipe_named
    from builder.run import Run
    from cifar10 import Split, load

    recipe = recipe_named(arguments.recipe)
    changes = {"epochs": arguments.epochs, "batch_size": arguments.batch_size}
    recipe = dataclasses.replace(recipe, **{name: value for name, value in changes.items() if value is not None})
    training = load(Split.TRAIN, arguments.data)
    if not 0 <= arguments.holdout < len(training.labels):
        raise TrainingError(f"--holdout must be 0..{len(training.labels) - 1}; found {arguments.holdout}")
    if arguments.holdout:
        kept = len(training.labels) - arguments.holdout
        test = dataclasses.replace(training, images=training.images[kept:], labels=training.labels[kept:])
        training = training.head(kept)
    else:
        test = load(Split.TEST, arguments.data)
    if arguments.limit is not None:
        if arguments.limit < 1:
            raise TrainingError(f"--limit must be 1 or more; found {arguments.limit}")
        training = training.head(arguments.limit)
    checkpoint = Run(
        recipe=recipe,
        train=training,
        test=test,
        output=arguments.output or Path("runs") / recipe.name,
        device=arguments.device,
        seed=arguments.seed,
        resume=arguments.resume,
        compiled=arguments.compile,
    ).execute()
    logger.info("wrote %s", checkpoint)


def export(arguments: argparse.Namespace) -> None:
    """Write a checkpoint as ONNX, without publishing it."""
    from builder import checkpoint, onnx_export
    from builder.signature import BATCH_PLAN
    from console.files import write_atomically

    content = onnx_export.export(checkpoint.load(arguments.checkpoint).classifier(), BATCH_PLAN)
    write_atomically(arguments.output, content)
    logger.info("wrote %s (%.1f MB)", arguments.output, len(content) / 1e6)


def build(arguments: argparse.Namespace) -> None:
    """Build the models and publish them into the model repository."""
    from builder import checkpoint
    from builder.build import PLAN_VERIFICATION_IMAGES, VERIFICATION_IMAGES, verification_sample
    from builder.build import build as build_models
    from builder.plans import choose
    from builder.repository import Repository
    from builder.triton_config import Scheduling
    from builder.variants import variants_named

    scheduling = Scheduling(arguments.instances, arguments.max_queue_size)
    named = variants_named(DEFAULT_MODELS if arguments.models is None else arguments.models)
    repository = Repository(arguments.repository)
    source = checkpoint.load(arguments.checkpoint)
    required = arguments.require_tensorrt or arguments.models is not None
    variants, plans = choose(named, arguments, required=required)
    sample = verification_sample(arguments.data, PLAN_VERIFICATION_IMAGES if plans else VERIFICATION_IMAGES)
    for variant, published, parities in build_models(
        source, variants, repository, sample, scheduling=scheduling, plans=plans
    ):
        worst = max(parity.max_abs_difference for parity in parities)
        agreement = min(parity.top1_agreement for parity in parities)
        state = "published" if published.changed else "unchanged"
        logger.info(
            "%s: %s version %d (largest logit difference %.1e, top-1 agreement %.2f %%)",
            variant.name,
            state,
            published.version,
            worst,
            100 * agreement,
        )
    logger.info("serve it with: make serve-local (no Docker) or make serve (NVIDIA's container)")


def inspect(arguments: argparse.Namespace) -> int:
    """Say what a published model is and which Triton can load it."""
    from builder.model_inspection import inspect_model
    from builder.plans import serving

    return inspect_model(arguments.directory, serving(arguments.triton_release, arguments.serving_tensorrt))


if __name__ == "__main__":
    sys.exit(run(parser()))
