from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cifar10 import CLASS_NAMES, DatasetError, DatasetNotFoundError, Split, load

from .conftest import Snapshot, pixels


def test_data_beats_the_environment_which_beats_the_default(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CIFAR10_DIR", str(data))
    assert load(Split.TEST).labels.tolist() == [5, 9]
    with pytest.raises(DatasetError, match="elsewhere"):
        load(Split.TEST, tmp_path / "elsewhere")
    monkeypatch.setenv("CIFAR10_DIR", "")  # as good as unset
    data.rename("data")
    assert load(Split.TRAIN, download=False).labels.tolist() == [3, 1, 4]


def test_png_parquet_is_lossless_and_named_plainly(data: Path) -> None:
    dataset = load(Split.TRAIN, data)
    assert dataset.images.dtype == np.uint8
    assert np.array_equal(dataset.images, pixels(3))
    assert dataset.labels.dtype == np.int64
    assert dataset.name == "CIFAR-10"


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_a_named_directory_that_is_missing_is_an_error_that_shows_both_layouts(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, snapshot: Snapshot
) -> None:
    missing = tmp_path / "missing"
    monkeypatch.setenv("CIFAR10_DIR", str(missing))
    before = snapshot()
    with pytest.raises(DatasetError, match=str(missing)) as caught:
        load(Split.TEST, missing if how == "argument" else None)
    # Not the error that the demo answers with synthetic images: a typing error must be seen.
    assert not isinstance(caught.value, DatasetNotFoundError)
    assert "parquet" in caught.value.hint
    assert "cifar-10-batches-py" in caught.value.hint
    assert snapshot() == before


def test_a_named_directory_without_the_split_says_what_it_holds(data: Path) -> None:
    (data / "test.parquet").unlink()
    with pytest.raises(DatasetError, match=r"no test split.*train\.parquet"):
        load(Split.TEST, data)


def test_a_named_file_is_not_taken_for_a_directory(data: Path) -> None:
    with pytest.raises(DatasetError, match="not a directory"):
        load(Split.TEST, data / "test.parquet")


def test_without_data_and_download_the_error_names_both_ways_out(snapshot: Snapshot) -> None:
    before = snapshot()
    with pytest.raises(DatasetNotFoundError) as caught:
        load(Split.TEST, download=False)
    assert "CIFAR10_DIR" in caught.value.hint
    assert "--data" in caught.value.hint
    assert snapshot() == before


def test_the_real_test_split_is_whole(real_data: Path) -> None:
    dataset = load(Split.TEST, real_data)
    assert dataset.images.shape == (10_000, 32, 32, 3)
    assert np.bincount(dataset.labels).tolist() == [1000] * len(CLASS_NAMES)
    # Means of the canonical test images; a channel swap or an offset would show.
    assert dataset.images.mean((0, 1, 2)) / 255 == pytest.approx([0.4942, 0.4851, 0.4504], abs=0.001)
