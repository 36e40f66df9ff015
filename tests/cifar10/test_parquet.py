from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cifar10 import DatasetError, Split, load

from .conftest import Row, Snapshot, encode, pixels, rows, write_parquet

GREY = np.zeros((32, 32), np.uint8)
LARGE = np.zeros((64, 48, 3), np.uint8)
PNG = encode(pixels(1)[0])


def test_jpeg_images_are_called_a_jpeg_copy(tmp_path: Path) -> None:
    smooth = np.broadcast_to(np.arange(32, dtype=np.uint8)[:, None, None] * 8, (1, 32, 32, 3))
    write_parquet(tmp_path / "test.parquet", rows(smooth, [0], "JPEG"))
    dataset = load(Split.TEST, tmp_path)
    assert dataset.name == "CIFAR-10 (JPEG copy)"
    assert np.abs(dataset.images.astype(int) - smooth).max() < 8  # JPEG's loss, not another picture


def test_shards_are_joined_in_name_order_also_in_plain_text(tmp_path: Path) -> None:
    folder = tmp_path / "plain_text"
    second = write_parquet(folder / "train-00001-of-00002.parquet", rows(pixels(2, seed=2), [7, 8]))
    first = write_parquet(folder / "train-00000-of-00002.parquet", rows(pixels(1), [6], "JPEG"), column="image")
    dataset = load(Split.TRAIN, tmp_path)
    assert dataset.labels.tolist() == [6, 7, 8]
    assert np.array_equal(dataset.images[1:], pixels(2, seed=2))
    assert dataset.name == "CIFAR-10 (JPEG copy)"  # one lossy shard is enough
    assert dataset.sha256 == hashlib.sha256(first.read_bytes() + second.read_bytes()).hexdigest()


def test_a_missing_shard_is_noticed(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train-00000-of-00002.parquet", rows(pixels(1), [6]))
    with pytest.raises(DatasetError, match=r"holds 1 train\*\.parquet.* 2"):
        load(Split.TRAIN, tmp_path)


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        pytest.param(({"bytes": PNG[:80], "path": None}, 1), "cannot be decoded", id="truncated image"),
        pytest.param(({"bytes": b"GIF89a not an image", "path": None}, 1), "cannot be decoded", id="another format"),
        pytest.param(({"bytes": encode(GREY), "path": None}, 1), "found L, 32 x 32", id="grey"),
        pytest.param(({"bytes": encode(LARGE), "path": None}, 1), "found RGB, 48 x 64", id="wrong size"),
        pytest.param(({"bytes": PNG, "path": None}, 10), r"0\.\.9; found 10", id="label too large"),
        pytest.param(({"bytes": PNG, "path": None}, -1), r"0\.\.9; found -1", id="label negative"),
        pytest.param(({"bytes": PNG, "path": None}, None), "found null", id="label null"),
        pytest.param((None, 1), "no image", id="image null"),
        pytest.param(({"bytes": None, "path": "a.png"}, 1), "no image", id="bytes null"),
        pytest.param(
            ({"bytes": PNG, "path": "frog/123.png"}, 1), r"mislabelled.*automobile.*frog/123", id="mislabelled"
        ),
    ],
)
def test_a_bad_row_is_named_and_nothing_is_kept(row: Row, complaint: str, tmp_path: Path, snapshot: Snapshot) -> None:
    good = rows(pixels(2), [0, 1])
    write_parquet(tmp_path / "test.parquet", [*good, row, *good])
    before = snapshot()
    with pytest.raises(DatasetError, match=rf"test\.parquet, row 2 .*{complaint}"):
        load(Split.TEST, tmp_path)
    assert snapshot() == before


def test_paths_that_agree_or_name_no_class_are_accepted(tmp_path: Path) -> None:
    paths = ["frog/1.png", "train/frog/2.png", "truck.png", "images/3.png", None]
    write_parquet(tmp_path / "test.parquet", [({"bytes": PNG, "path": path}, 6) for path in paths])
    assert load(Split.TEST, tmp_path).labels.tolist() == [6] * 5


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        pytest.param({"img": [{"bytes": PNG}]}, "lacks a column.*img", id="no label"),
        pytest.param({"label": [1], "name": ["a"]}, r"lacks a column.*label \(int64\), name", id="no image"),
        pytest.param({"img": [{"bytes": PNG}], "fine_label": [1], "coarse_label": [1]}, "is CIFAR-100", id="CIFAR-100"),
        pytest.param({"img": [1], "label": [1]}, "must be a struct.*int64", id="image is a number"),
        pytest.param({"img": [{"path": "a"}], "label": [1]}, "must be a struct", id="paths only"),
        pytest.param({"img": [{"bytes": PNG}], "label": ["cat"]}, "must hold integers.*string", id="label is text"),
    ],
)
def test_other_columns_are_refused_and_shown(table: dict[str, list[object]], complaint: str, tmp_path: Path) -> None:
    pq.write_table(pa.table(table), tmp_path / "test.parquet")
    with pytest.raises(DatasetError, match=rf"test\.parquet.*{complaint}"):
        load(Split.TEST, tmp_path)


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    write_parquet(tmp_path / "test.parquet", [])
    with pytest.raises(DatasetError, match="no rows"):
        load(Split.TEST, tmp_path)


def damage_nothing_but_the_data(content: bytes) -> bytes:
    return content[:4] + bytes(len(content) // 2) + content[4 + len(content) // 2 :]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda content: b"", id="empty"),
        pytest.param(lambda content: b"<html>not found</html>" * 9, id="a web page"),
        pytest.param(lambda content: content[: len(content) // 2], id="truncated"),
        pytest.param(damage_nothing_but_the_data, id="zeroed inside"),
    ],
)
def test_a_damaged_file_is_named(damage: object, data: Path, snapshot: Snapshot) -> None:
    file = data / "train.parquet"
    file.write_bytes(damage(file.read_bytes()))  # type: ignore[operator]
    before = snapshot()
    with pytest.raises(DatasetError, match=r"train\.parquet"):
        load(Split.TRAIN, data)
    assert snapshot() == before
