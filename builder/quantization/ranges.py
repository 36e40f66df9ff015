"""Measuring a calibration: the network answers training images, and ONNX Runtime's calibrator watches its activations.

`benchmarks/int8_selection.py` chose the method.
"""

from __future__ import annotations

import io
import tempfile
import warnings
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from builder.errors import CalibrationError
from builder.quantization.calibration import CALIBRATION_IMAGES, Calibration
from console.versions import package_versions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cifar10 import Dataset

CALIBRATED_OPERATORS = ("Add", "Conv", "Gemm", "MaxPool", "ReduceMean", "Relu")
"""The ranges of what goes into these and comes out of them are measured: more than any graph here quantises."""

_AT_ONCE = 128  # images whose activations are in memory together, some 0.8 GB


@dataclass(frozen=True)
class Method:
    """How a range is taken from a tensor's values.

    Attributes:
        name: "minmax" (every value fits), "entropy" (least Kullback-Leibler divergence) or "percentile".
        percentile: the share of values that fit, in percent; for "percentile" only.
    """

    name: str
    percentile: float | None = None

    def __str__(self) -> str:
        return self.name if self.percentile is None else f"{self.name} {self.percentile:g}"


METHOD = Method("percentile", 99.99)


def measure(
    onnx: bytes,
    checkpoint_sha256: str,
    training: Dataset,
    *,
    count: int = CALIBRATION_IMAGES,
    method: Method = METHOD,
) -> Calibration:
    """Calibrate the network on the first training images.

    Args:
        onnx: the FP32 graph of the checkpoint.
        checkpoint_sha256: of its file.
        training: the training images.
        count: how many of them.
        method: how a range is taken from the values.

    Raises:
        CalibrationError: there are no images, or an activation is not a number.
    """
    images = training.images[:count]
    if len(images) < 1:
        raise CalibrationError(f"calibrating needs training images; found {len(images)}", "--images 512 or more")
    return Calibration(
        checkpoint_sha256=checkpoint_sha256,
        dataset=training.name,
        dataset_sha256=training.sha256,
        images=len(images),
        method=str(method),
        tools=package_versions(("onnxruntime", "onnx", "numpy")),
        ranges=ranges_of(onnx, images, method),
    )


def ranges_of(
    onnx: bytes,
    images: NDArray[np.uint8],
    method: Method = METHOD,
) -> dict[str, tuple[float, float]]:
    """Every calibrated tensor's smallest and largest value that is to be told apart.

    Raises:
        CalibrationError: an activation is not a number.
    """
    from onnxruntime.quantization.calibrate import CalibrationMethod, create_calibrator

    methods = {
        "minmax": CalibrationMethod.MinMax,
        "entropy": CalibrationMethod.Entropy,
        "percentile": CalibrationMethod.Percentile,
    }
    options: dict[str, Any] = {} if method.percentile is None else {"percentile": method.percentile}
    with tempfile.TemporaryDirectory() as directory, redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's, of the calibrator's own arithmetic
        path = Path(directory) / "model.onnx"
        path.write_bytes(onnx)
        calibrator = create_calibrator(
            path,
            list(CALIBRATED_OPERATORS),
            augmented_model_path=str(Path(directory) / "augmented.onnx"),
            calibrate_method=methods[method.name],
            extra_options=options,
        )
        try:
            for start in range(0, len(images), _AT_ONCE):
                calibrator.collect_data(_Batches(images[start : start + _AT_ONCE]))
            found = calibrator.compute_data()
        except (ValueError, FloatingPointError) as error:  # numpy's histogram of NaN or infinity
            raise CalibrationError(f"the activations cannot be calibrated: {error}") from None
    ranges = {name: (_single(found[name].lowest), _single(found[name].highest)) for name in found}
    broken = [name for name, values in ranges.items() if not np.isfinite(values).all()]
    if broken:
        raise CalibrationError(f"the network's activations hold NaN or infinity: {', '.join(broken[:3])}")
    return ranges


class _Batches:
    """Images in the form that ONNX Runtime's calibrator reads."""

    def __init__(self, images: NDArray[np.uint8]) -> None:
        self._parts = iter(np.array_split(images, -(-len(images) // 32)))

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        """The next batch by the name of the input, None after the last."""
        part = next(self._parts, None)
        return None if part is None else {"images": part}


def _single(value: Any) -> float:
    return float(np.asarray(value, dtype=np.float32).reshape(-1)[0])
