"""Is a model's file the one that was published? It is held against the SHA-256 in `provenance.json` beside it.

The builder writes that file with each version (builder/publishing/repository.py). A model may have been changed by hand
since, or damaged by a disk or a copy; one without provenance is nobody's promise, and is served as ever.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from files import name_of, sha256

FILE = "provenance.json"

VARIABLE = "TRITON_ALLOW_CHANGED"
"""The environment variable that has changed models served all the same; `python -m server --allow-changed` sets it."""

_HINT = f"build it anew, or serve it as it is: --allow-changed (in a container: {VARIABLE}=1)"
_SHA256 = re.compile("[0-9a-f]{64}")


def check_published(model: Path, version: Path | None = None) -> str:
    """Refuse a model's file that is not the one its provenance names, before anything of it is read.

    Args:
        model: its file.
        version: its version's directory; where `model` lies, if it is not named.

    Returns:
        what is worth a warning: how a model differs that is served all the same; empty where it does not.

    Raises:
        ValueError: it is another file, or the provenance is there and cannot be read.
    """
    value = os.environ.get(VARIABLE) or "0"
    if value not in ("0", "1"):
        raise ValueError(f"the environment variable {VARIABLE} must be 0 or 1, found {value[:80]!a}")
    path = (version or model.parent) / FILE
    if not os.path.lexists(path):
        return ""
    where = name_of(model.parent.resolve() / model.name)
    try:
        expected, found = _promised(path), sha256(model)
        if expected == found:
            return ""
        what = f"{where} is not the file that was published: expected SHA-256 {expected} ({FILE}), found {found}"
    except ValueError as error:
        what = f"{where} may not be the file that was published: {error}"
    if value == "1":
        return f"{what}; served as it is"
    raise ValueError(f"{what}; {_HINT}")


def _promised(path: Path) -> str:
    """The SHA-256 that a provenance names.

    Raises:
        ValueError: it cannot be read, or names none.
    """
    try:
        if path.exists() and not path.is_file():  # reading a pipe would wait for ever
            raise ValueError(f"{FILE} is not a file")
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise ValueError(f"{FILE}: {error.strerror}") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{FILE} is not JSON: {error}") from None
    digest = content.get("sha256") if isinstance(content, dict) else None
    if not (isinstance(digest, str) and _SHA256.fullmatch(digest.lower())):
        raise ValueError(f"{FILE} names no SHA-256: expected 64 hexadecimal digits, found {str(digest)[:80]!a}")
    return digest.lower()
