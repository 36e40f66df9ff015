from __future__ import annotations

import hashlib
import io
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from cifar10 import DatasetError, Split, load, pickles

from .conftest import Snapshot, pixels, rows, write_parquet


class Python2Pickler(pickle._Pickler):
    """Writes bytes as Python 2 wrote its strings, which is how the published batches are written."""

    dispatch: ClassVar[dict[type, object]] = dict(pickle._Pickler.dispatch)

    def save_string(self, value: bytes) -> None:
        self.write(pickle.BINSTRING + struct.pack("<i", len(value)) + value)
        self.memoize(value)

    dispatch[bytes] = save_string


def batch(images: np.ndarray, labels: list[int]) -> bytes:
    stream = io.BytesIO()
    flat = np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(len(images), -1)
    Python2Pickler(stream, protocol=2).dump({b"data": flat, b"labels": labels})
    return stream.getvalue()


Publish = Callable[[Path, str, bytes], Path]


@pytest.fixture
def publish(monkeypatch: pytest.MonkeyPatch) -> Publish:
    """Writes a batch and makes its checksum the expected one."""

    def write(folder: Path, name: str, content: bytes) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
        monkeypatch.setitem(pickles.MD5, name, hashlib.md5(content).hexdigest())
        return folder / name

    return write


@pytest.mark.parametrize("folder", ["cifar-10-batches-py", "."])
def test_training_batches_are_joined_in_order(folder: str, tmp_path: Path, publish: Publish) -> None:
    for number in range(1, 6):
        publish(tmp_path / folder, f"data_batch_{number}", batch(pixels(2, seed=number), [number, 9 - number]))
    dataset = load(Split.TRAIN, tmp_path)
    assert dataset.images.shape == (10, 32, 32, 3)
    assert np.array_equal(dataset.images[2:4], pixels(2, seed=2))
    assert dataset.labels.tolist() == [1, 8, 2, 7, 3, 6, 4, 5, 5, 4]
    assert dataset.labels.dtype == np.int64
    assert dataset.name == "CIFAR-10"
    assert dataset.images.flags.c_contiguous


def test_the_canonical_files_are_preferred_to_parquet(data: Path, publish: Publish) -> None:
    publish(data / "cifar-10-batches-py", "test_batch", batch(pixels(1), [2]))
    assert load(Split.TEST, data).labels.tolist() == [2]
    assert load(Split.TRAIN, data).labels.tolist() == [3, 1, 4]  # only parquet has this one


def test_an_incomplete_copy_names_what_is_missing_unless_parquet_can_serve(tmp_path: Path, publish: Publish) -> None:
    for number in (1, 2, 4, 5):
        publish(tmp_path / "cifar-10-batches-py", f"data_batch_{number}", batch(pixels(1), [number]))
    with pytest.raises(DatasetError, match=r"incomplete.*data_batch_3"):
        load(Split.TRAIN, tmp_path)
    write_parquet(tmp_path / "train.parquet", rows(pixels(1), [6]))
    assert load(Split.TRAIN, tmp_path).labels.tolist() == [6]


class Malicious:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.target,)


def test_a_forged_pickle_is_never_executed(tmp_path: Path, snapshot: Snapshot) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    executed = tmp_path / "executed"
    content = pickle.dumps(Malicious(executed))
    (folder / "test_batch").write_bytes(content)
    before = snapshot()
    with pytest.raises(DatasetError, match=r"test_batch.*md5.*40351d587109b95175f43aff81a1287e"):
        load(Split.TEST, tmp_path)
    assert not executed.exists()
    assert snapshot() == before
    pickle.loads(content)
    assert executed.exists()  # or the test would prove nothing


def test_a_truncated_batch_is_named(tmp_path: Path, publish: Publish) -> None:
    file = publish(tmp_path, "test_batch", batch(pixels(2), [1, 2]))
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(DatasetError, match="test_batch"):
        load(Split.TEST, tmp_path)
