from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cifar10 import Split, load

from .conftest import pixels, rows, write_parquet


def make_unreadable_but_unchanged(file: Path) -> None:
    """Spoil the content and keep size and time: whoever still gets images has them from the cache."""
    stat = file.stat()
    file.write_bytes(bytes(stat.st_size))
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def entries(root: Path) -> list[Path]:
    return sorted(path.parent for path in root.rglob("images.npy"))


def test_the_second_load_decodes_nothing_and_gives_the_same(data: Path) -> None:
    first = load(Split.TRAIN, data)
    assert entries(data)
    make_unreadable_but_unchanged(data / "train.parquet")
    second = load(Split.TRAIN, data)
    assert np.array_equal(first.images, second.images)
    assert np.array_equal(first.labels, second.labels)
    assert (first.name, first.sha256, first.split) == (second.name, second.sha256, second.split)


def test_changed_data_is_decoded_again_and_the_old_entry_goes(data: Path) -> None:
    load(Split.TRAIN, data)
    load(Split.TEST, data)
    write_parquet(data / "train.parquet", rows(pixels(1, seed=5), [8]))
    assert load(Split.TRAIN, data).labels.tolist() == [8]
    assert len(entries(data)) == 2  # one of each split
    make_unreadable_but_unchanged(data / "test.parquet")
    assert load(Split.TEST, data).labels.tolist() == [5, 9]


def truncate(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 1)


def flip_last_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def break_header(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b"}", b"(", 1))


@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "entry.json"])
@pytest.mark.parametrize(
    "damage", [Path.unlink, truncate, flip_last_byte, break_header, lambda file: file.write_bytes(b"")]
)
def test_a_damaged_entry_is_rebuilt(damage: Callable[[Path], object], name: str, data: Path) -> None:
    load(Split.TRAIN, data)
    (entry,) = entries(data)
    damage(entry / name)
    assert np.array_equal(load(Split.TRAIN, data).images, pixels(3))
    make_unreadable_but_unchanged(data / "train.parquet")
    assert np.array_equal(load(Split.TRAIN, data).images, pixels(3))  # from the entry that took its place


def test_read_only_data_is_cached_in_the_users_cache(data: Path, tmp_path: Path) -> None:
    data.chmod(0o555)  # root could write here all the same, and must not
    try:
        load(Split.TRAIN, data)
        assert not entries(data)
        assert entries(tmp_path / "xdg")
        make_unreadable_but_unchanged(data / "train.parquet")
        assert load(Split.TRAIN, data).labels.tolist() == [3, 1, 4]
    finally:
        data.chmod(0o755)


def test_read_only_file_system_is_cached_in_the_users_cache(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    load(Split.TRAIN, data)
    assert not entries(data)
    assert entries(tmp_path / "xdg")


def test_two_read_only_directories_do_not_share_an_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    image = rows(pixels(1), [6])
    for name, label in (("a", 1), ("b", 2)):
        file = write_parquet(tmp_path / name / "test.parquet", [(image[0][0], label)])
        os.utime(file, ns=(0, 0))
    assert load(Split.TEST, tmp_path / "a").labels.tolist() == [1]
    assert load(Split.TEST, tmp_path / "b").labels.tolist() == [2]


def test_a_full_disk_costs_the_cache_and_nothing_else(
    data: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(file: Path, array: np.ndarray) -> None:
        Path(file).write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np, "save", full)
    with caplog.at_level(logging.INFO):
        assert load(Split.TRAIN, data).labels.tolist() == [3, 1, 4]
    assert "No space left on device" in caplog.text
    assert [path.name for path in (data / ".cifar10-cache").iterdir()] == []


def test_interrupting_the_write_leaves_nothing(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(file: Path, array: np.ndarray) -> None:
        Path(file).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load(Split.TRAIN, data)
    assert [path.name for path in (data / ".cifar10-cache").iterdir()] == []


def test_what_a_killed_process_left_is_removed_and_a_running_ones_is_not(data: Path) -> None:
    cache = data / ".cifar10-cache"
    for name in (".staging-killed", ".staging-running"):
        (cache / name).mkdir(parents=True)
        (cache / name / "images.npy").write_bytes(b"half")
    for path in (cache / ".staging-killed" / "images.npy", cache / ".staging-killed"):
        os.utime(path, (0, 0))
    load(Split.TRAIN, data)
    assert {path.name for path in cache.glob(".staging-*")} == {".staging-running"}
