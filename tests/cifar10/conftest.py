"""Tiny datasets in both layouts, and an environment in which no test meets the user's own data or cache."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

REAL_DATA = os.environ.get("CIFAR10_DIR") and Path(os.environ["CIFAR10_DIR"]).resolve()
"""Read before `isolated` hides the variable and changes the directory that it may be relative to."""

Row = tuple[dict[str, object] | None, int | None]


@pytest.fixture(autouse=True)
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CIFAR10_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")  # what is relative, as the default data/, lands here and not in the tree


@pytest.fixture
def real_data() -> Path:
    if not REAL_DATA:
        pytest.skip("CIFAR10_DIR is not set: it names a directory with the real CIFAR-10")
    return REAL_DATA


def pixels(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), np.uint8)


def encode(image: np.ndarray, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, kind)
    return stream.getvalue()


def rows(images: np.ndarray, labels: Sequence[int], kind: str = "PNG") -> list[Row]:
    return [({"bytes": encode(image, kind), "path": None}, label) for image, label in zip(images, labels, strict=True)]


def write_parquet(file: Path, content: Sequence[Row], column: str = "img") -> Path:
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table(
        {
            column: pa.array([row[0] for row in content], image),
            "label": pa.array([row[1] for row in content], pa.int64()),
        }
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, file)
    return file


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A directory with three training and two test images as PNG."""
    directory = tmp_path / "named"
    write_parquet(directory / "train.parquet", rows(pixels(3), [3, 1, 4]))
    write_parquet(directory / "test.parquet", rows(pixels(2, seed=1), [5, 9]))
    return directory


Snapshot = Callable[[], list[str]]


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    """Every file and directory that exists, to show that something left nothing behind."""
    return lambda: sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
