"""What can go wrong with the dataset."""

from __future__ import annotations

from console import UserError


class DatasetError(UserError):
    """The data that was named is absent, incomplete or damaged; the message names the file and, in a file, the row."""


class DatasetNotFoundError(UserError):
    """Nobody named a directory, the default one has no data, and downloading was refused or failed.

    The only error that a command may answer with `synthetic_images`: a directory that the user did name must never be
    replaced silently.
    """
