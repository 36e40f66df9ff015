"""Which files of a directory hold a split, and in which layout."""

from __future__ import annotations

import enum
import fnmatch
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cifar10.dataset import Split
from cifar10.errors import DatasetError
from cifar10.pickles import BATCHES, FOLDER

LAYOUTS = f"train*.parquet and test*.parquet (Hugging Face layout), or {FOLDER}/ (as torchvision unpacks it)"


class Layout(enum.Enum):
    """How the images are stored."""

    PARQUET = "parquet"
    PICKLES = "pickles"


@dataclass(frozen=True)
class Source:
    """The files of one split, in reading order."""

    files: tuple[Path, ...]
    layout: Layout

    def fingerprint(self) -> list[tuple[str, int, int]]:
        """Name, size in bytes and modification time in ns of each file: changes when the data does."""
        status = [(file.name, file.stat()) for file in self.files]
        return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in status]

    def sha256(self) -> str:
        """Hash the files' bytes, one file after another."""
        digest = hashlib.sha256()
        for file in self.files:
            with file.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
        return digest.hexdigest()


def find(directory: Path, split: Split) -> Source | None:
    """Look for `split` in `directory`: the canonical files first, for they are lossless and checksummed.

    Args:
        directory: an existing directory.
        split: which half to look for.

    Returns:
        The files, or None where neither layout is there.

    Raises:
        DatasetError: a layout is there, but files of it are missing.
        OSError: a directory cannot be listed.
    """
    batches = [folder for folder in (directory / FOLDER, directory) if _present(folder, BATCHES[split])]
    for folder in batches:
        if not _missing(folder, split):
            return Source(tuple(folder / name for name in BATCHES[split]), Layout.PICKLES)
    for folder in (directory, directory / "plain_text"):
        if shards := _shards(folder, split):
            return Source(shards, Layout.PARQUET)
    for folder in batches:
        raise DatasetError(
            f"{folder} is incomplete: the {split.value} split also needs {', '.join(_missing(folder, split))}",
            "delete the directory and unpack or download it again",
        )
    return None


def _present(folder: Path, names: Sequence[str]) -> bool:
    return any((folder / name).is_file() for name in names)


def _missing(folder: Path, split: Split) -> list[str]:
    return [name for name in BATCHES[split] if not (folder / name).is_file()]


def _shards(folder: Path, split: Split) -> tuple[Path, ...]:
    if not folder.is_dir():
        return ()
    files = [file for file in folder.iterdir() if fnmatch.fnmatch(file.name, f"{split.value}*.parquet")]
    shards = tuple(sorted(file for file in files if file.is_file()))
    for shard in shards:  # the hub names shards train-00000-of-00002.parquet, so it can be told when one is missing
        numbered = re.search(r"-of-(\d+)\.parquet$", shard.name)
        if numbered and int(numbered[1]) != len(shards):
            raise DatasetError(
                f"{folder} holds {len(shards)} {split.value}*.parquet, but {shard.name} says there are "
                f"{int(numbered[1])}",
                "download the missing shards, or remove the files that belong to another copy",
            )
    return shards
