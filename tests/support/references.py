"""Reference answers beside a model, as the builder writes them and as they should not be."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np


def write_reference(
    model: Path, images: np.ndarray, logits: np.ndarray, *, relative: float = 1e-3, top1: float = 1.0, **arrays: object
) -> Path:
    """Write reference.npz beside `model`; an array given as None is left out."""
    content = {
        "images": images,
        "logits": logits,
        "max_relative_difference": np.float64(relative),
        "min_top1_agreement": np.float64(top1),
        "model_sha256": np.str_(hashlib.sha256(model.read_bytes()).hexdigest()),
        **arrays,
    }
    path = model.with_name("reference.npz")
    np.savez_compressed(path, **{name: array for name, array in content.items() if array is not None})
    return path
