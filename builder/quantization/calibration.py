"""A calibration: how large a network's activations become, in a file beside the checkpoint whose weights gave them.

Quantising needs it and nothing else of the training images, so whoever builds needs no dataset.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.errors import CalibrationError
from console.files import write_atomically

CALIBRATION_IMAGES = 1024
"""Training images that a calibration is measured on; `benchmarks/int8_selection.py` chose the number."""

FORMAT = 1
SUFFIX = ".calibration.json"


@dataclass(frozen=True)
class Calibration:
    """The activations' ranges of one checkpoint.

    Attributes:
        checkpoint_sha256: of the file whose weights they belong to.
        dataset: the images' dataset, as in "CIFAR-10 (JPEG copy)".
        dataset_sha256: of the training images' source files.
        images: how many of the training images, from the first on.
        method: how a range was taken from all the values that a tensor had, as in "percentile 99.999".
        tools: versions of what measured.
        ranges: tensor of the exported FP32 graph -> its smallest and largest value.
    """

    checkpoint_sha256: str
    dataset: str
    dataset_sha256: str
    images: int
    method: str
    tools: dict[str, str]
    ranges: dict[str, tuple[float, float]]

    def record(self) -> dict[str, Any]:
        """Everything but the ranges, for provenance.json."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name != "ranges"}


def beside(checkpoint: Path) -> Path:
    """Where a checkpoint's calibration lies."""
    return checkpoint.with_name(checkpoint.name.removesuffix(".safetensors") + SUFFIX)


def command(checkpoint: Path) -> str:
    """How a checkpoint's calibration is made, for messages."""
    return f"python -m builder calibrate --checkpoint {checkpoint} --data DIR (a directory with CIFAR-10)"


def save(path: Path, calibration: Calibration) -> None:
    """Write a calibration atomically."""
    content = {"format": FORMAT, **calibration.record()}
    ranges = ",\n".join(
        f"    {json.dumps(name)}: {json.dumps(values)}" for name, values in sorted(calibration.ranges.items())
    )
    head = json.dumps(content, indent=2).removesuffix("\n}")
    write_atomically(path, f'{head},\n  "ranges": {{\n{ranges}\n  }}\n}}\n')


def load(path: Path, checkpoint_sha256: str, hint: str = "") -> Calibration:
    """Read a calibration.

    Args:
        path: of the file.
        checkpoint_sha256: of the checkpoint that is to be quantised.
        hint: what to do where the file does not serve.

    Raises:
        CalibrationError: the file is missing, damaged, or belongs to another checkpoint.
    """
    if not path.is_file():
        raise CalibrationError(f"there is no calibration at {path}", hint)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found.pop("format") != FORMAT:
            raise ValueError(f"expected format {FORMAT}")
        ranges = {str(name): _range(values) for name, values in found.pop("ranges").items()}
        calibration = Calibration(**found, ranges=ranges)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise CalibrationError(f"{path} is not a calibration: {error}", hint) from None
    if calibration.checkpoint_sha256 != checkpoint_sha256:
        raise CalibrationError(
            f"{path} belongs to another checkpoint: its SHA-256 is {str(calibration.checkpoint_sha256)[:12]}…, "
            f"this one's {checkpoint_sha256[:12]}…",
            hint,
        )
    return calibration


def _range(values: Any) -> tuple[float, float]:
    low, high = (float(value) for value in values)
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ValueError(f"[{low}, {high}] is not a range")
    return low, high
