"""Which calibration a build takes: the file beside the checkpoint, else the training images, else none."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import cifar10
from builder.errors import CalibrationError
from builder.export import onnx_export
from builder.quantization import calibration
from builder.signature import BATCH_SIZES
from cifar10 import DatasetError, DatasetNotFoundError, Split

if TYPE_CHECKING:
    from builder.network.checkpoint import Checkpoint
    from builder.quantization.calibration import Calibration
    from builder.variants import Variant

logger = logging.getLogger(__name__)


def choose(
    variants: tuple[Variant, ...], source: Checkpoint, named: Path | None, data: Path | None, *, required: bool
) -> tuple[tuple[Variant, ...], Calibration | None]:
    """Which of the variants can be quantised, and the calibration for those that are.

    Args:
        variants: that were asked for.
        source: the checkpoint.
        named: a calibration's file; None takes the one beside the checkpoint.
        data: CIFAR-10's directory, for a checkpoint that has none; nothing is downloaded.
        required: whether a model that cannot be quantised is an error, and not a line and a model less.

    Raises:
        CalibrationError: it is required, or `named`, and missing, damaged or another checkpoint's.
    """
    quantized = [variant.name for variant in variants if variant.precision.quantized]
    if not quantized:
        return variants, None
    try:
        return variants, _calibration(source, named, data)
    except CalibrationError as error:
        if required or named:
            raise
        logger.info("not built: %s: %s; to get it: %s", ", ".join(quantized), error, error.hint)
        return tuple(variant for variant in variants if not variant.precision.quantized), None


def _calibration(source: Checkpoint, named: Path | None, data: Path | None) -> Calibration:
    path = named or calibration.beside(source.path)
    how = calibration.command(source.path)
    if named or path.exists():
        return calibration.load(path, source.sha256, how)
    try:
        training = cifar10.load(Split.TRAIN, data, download=False)
    except (DatasetError, DatasetNotFoundError) as error:
        raise CalibrationError(
            f"there is no calibration at {path}, and no training images to make one ({error})", how
        ) from None
    from builder.quantization import ranges

    logger.info(
        "calibrating on %d training images, since there is no %s (keep it: %s)",
        calibration.CALIBRATION_IMAGES,
        path,
        how,
    )
    return ranges.measure(onnx_export.export(source.classifier(), BATCH_SIZES), source.sha256, training)
