"""Moved."""

from console.files import sha256_file, write_atomically

__all__ = ["sha256_file", "write_atomically"]
