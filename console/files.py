"""Files that are either whole or absent, and what they hold."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write `content` under a temporary name beside `path`, flush it to the disk, and rename it into place.

    Raises:
        OSError: the disk is full or the directory cannot be written; `path` is then as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)  # mkstemp's 0600 would keep the container's user from reading it
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


_LOOKALIKES = (
    (b"version https://git-lfs.github.com/spec/", "a Git LFS pointer, not the file itself", "fetch it: git lfs pull"),
    (b"<!doctype html", "an HTML page", "a download gave a page instead of the file: fetch it again"),
    (b"<html", "an HTML page", "a download gave a page instead of the file: fetch it again"),
    (b"<?xml", "an XML document", "a download gave an error instead of the file: fetch it again"),
    (b"PK\x03\x04", "a ZIP archive, as torch.save and numpy.savez write it", ""),
    (b"\x1f\x8b", "a gzip archive", "unpack it first"),
    (b"\x80", "a Python pickle, which may hold code and is not read", ""),
    (b"PAR1", "a Parquet file", ""),
    (b"\x89PNG", "a PNG image", ""),
)
"""First bytes in lower case where they are letters, what such a file is, and what to do."""


def mistaken_for(path: Path) -> tuple[str, str]:
    """What a file that could not be read as what it should be really is, as far as its first bytes tell.

    Returns:
        what it is, and what to do about it; both empty for bytes that tell nothing.
    """
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError:
        return "", ""
    if not head:
        return "empty", "it was cut short while it was written or copied: fetch or make it again"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for magic, what, hint in _LOOKALIKES:
        if start.startswith(magic.lower()) or head.startswith(magic):
            return what, hint
    return "", ""
