"""Moving a staged directory to its place in one step, and what a process that was killed leaves of that."""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import shutil
from pathlib import Path

logger = logging.getLogger(__name__)

_RENAME_EXCHANGE = 2  # linux/fs.h
_AT_FDCWD = -100  # fcntl.h
_RETIRED = ".retired"


def put_in_place(staged: Path, target: Path) -> None:
    """Move a staged directory to `target`; a directory that is there is exchanged with it in one system call."""
    if not target.exists():
        staged.rename(target)
        return
    libc = ctypes.CDLL(None, use_errno=True)
    rename = getattr(libc, "renameat2", None)
    names = (os.fsencode(staged), os.fsencode(target))
    if rename and rename(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
        return
    code = ctypes.get_errno() if rename else errno.ENOSYS
    if code not in (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP):
        raise OSError(code, os.strerror(code), str(target))
    # A file system that cannot exchange (some network mounts): two renames, the model absent between them.
    logger.debug("no atomic exchange on this file system; %s is replaced in two steps", target)
    retired = staged.with_name(f"{staged.name}{_RETIRED}")
    target.rename(retired)
    try:
        staged.rename(target)
    except OSError:
        retired.rename(target)
        raise


def clear(left_over: Path, repository: Path) -> None:
    """Remove the staging directory of a process that was killed; a model that it had taken away goes back first."""
    for retired in left_over.glob(f"*{_RETIRED}"):
        target = repository / retired.name.removesuffix(_RETIRED)
        if not target.exists():
            retired.rename(target)
    shutil.rmtree(left_over, ignore_errors=True)


def link_tree(source: Path, target: Path) -> None:
    """Copy a directory without copying its files: each gets a second name."""
    shutil.copytree(source, target, symlinks=True, copy_function=link)


def link(source: str | Path, target: str | Path) -> None:
    """Give a file a second name, or copy it where the file system cannot."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EXDEV, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES):
            raise
        shutil.copy2(source, target, follow_symlinks=False)
