"""Is what lies in a repository still what was published, and does it still answer as it did?"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from builder.errors import BuilderError
from builder.publishing.listing import models_in
from builder.publishing.versions import (
    CONFIG_FILE,
    PUBLISHED_FOLDER,
    VERSIONS_FILE,
    State,
    Version,
    closed,
    examine,
    highest_number,
    misread,
    published_versions,
    served_versions,
)
from console import ExitCode
from console.triton_configuration import ConfigurationError, read

if TYPE_CHECKING:
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

_REFERENCE_FILE = "reference.npz"
_LIMITS = ("max_relative_difference", "min_top1_agreement", "model_sha256")
_BATCH_SIZE = 64


def verify(repository: Path, names: Sequence[str], *, answers: bool = True) -> int:
    """Say of every version whether its file is the one that was published, and whether it answers as it did.

    Of the versions that are served, the configurations and labels are compared with those that were published with
    them; which versions are served is no change.

    Args:
        repository: the one for TensorRT for RTX beside it is looked at too.
        names: of models; none for all.
        answers: have ONNX models answer the reference images anew.

    Returns:
        0 when all of them are as published; 2 when one is not.

    Raises:
        BuilderError: there is no such model.
    """
    changed = False
    for model in models_in(repository, names):
        try:
            changed |= not _as_published(model, answers=answers)
        except PermissionError as error:
            logger.info("%s: %s", model.name, closed(error))
            changed = True
    return ExitCode.GATE if changed else ExitCode.DONE


def _as_published(model: Path, *, answers: bool) -> bool:
    good = True
    for number in published_versions(model):
        version = examine(model, number)
        problems = [version.problem] if version.problem else []
        said = "as published"
        if version.state is State.OK and answers:
            problem, said = _answered(version)
            problems += [problem] if problem else []
        for line in problems or [said]:
            logger.info("%s version %d: %s", model.name, number, line)
        good = good and not problems
    for problem in (*_numbers(model), *_beside_versions(model)):
        logger.info("%s: %s", model.name, problem)
        good = False
    return good


def _numbers(model: Path) -> Iterator[str]:
    """What is wrong with the names of directories and the record of numbers."""
    for odd in misread(model):
        yield f"Triton takes the directory {odd!r} for a version, and cannot load it"
    try:
        highest, newest = highest_number(model), max(published_versions(model), default=0)
    except BuilderError as error:
        yield str(error)
        return
    if highest is not None and highest < newest:
        yield f"{VERSIONS_FILE} says that {highest} was the highest version, and there is a version {newest}"


def _beside_versions(model: Path) -> Iterator[str]:
    """What of the configurations and labels is not as published with the version that is served."""
    try:
        served = served_versions(model)
    except ConfigurationError as error:
        yield str(error)
        return
    if not served:
        yield f"no version is served by its {CONFIG_FILE}"
        return
    published = model / str(served[-1]) / PUBLISHED_FOLDER
    if not published.is_dir():
        logger.info("%s: version %d was published without a copy of its configuration", model.name, served[-1])
        return
    for path in sorted(published.rglob("*")):
        name = path.relative_to(published)
        if path.is_file() and (problem := _difference(model / name, path)):
            yield f"{name} is not as published with version {served[-1]}: {problem}"
    expected = {path.name for path in (published / "configs").glob("*.pbtxt")}
    for path in sorted((model / "configs").glob("*.pbtxt")):
        if path.name not in expected:
            yield f"configs/{path.name} was not published with version {served[-1]}"


def _difference(path: Path, published: Path) -> str:
    try:
        if not path.is_file():
            return "it is not there"
    except OSError as error:  # the folder that it lies in is closed to this user
        return f"it cannot be read: {error.strerror}"
    if path.suffix != ".pbtxt":
        return "" if path.read_bytes() == published.read_bytes() else f"compare it with {published}"
    try:
        one, other = read(path), read(published)
    except ConfigurationError as error:
        return str(error)
    for config in (one, other):
        config.ClearField("version_policy")
    return "" if one == other else f"compare it with {published}"


def _answered(version: Version) -> tuple[str, str]:
    """What is wrong with a model's answers to its reference images, and what is said where nothing is."""
    path = version.directory / _REFERENCE_FILE
    if not path.exists():
        return "", f"as published; not answered: there is no {_REFERENCE_FILE} beside it"
    try:
        arrays = _arrays(path)
    except Exception as error:  # noqa: BLE001  a damaged zip's inner errors (zlib.error, struct.error) have no one base
        return f"{_REFERENCE_FILE} cannot be read: {error}", ""
    if not any(name in arrays for name in _LIMITS):
        return "", f"as published; not answered: {_REFERENCE_FILE} is an older builder's, without limits"
    if missing := [name for name in ("images", "logits", *_LIMITS) if name not in arrays]:
        return f"{_REFERENCE_FILE} holds no array '{missing[0]}'", ""
    if (sha256 := str(arrays["model_sha256"])) != version.provenance["sha256"]:
        return f"{_REFERENCE_FILE} is that of another model, with SHA-256 {sha256}", ""
    if version.file.suffix != ".onnx":
        return "", "as published; not answered: a plan runs on its GPU, where the server checks it when it loads it"
    return _compared(version.file, arrays)


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    if not path.is_file():  # a named pipe would be waited for
        raise ValueError("it is no file")
    with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _compared(file: Path, arrays: dict[str, NDArray[Any]]) -> tuple[str, str]:
    images, expected = arrays["images"], arrays["logits"]
    limit, least = float(arrays["max_relative_difference"]), float(arrays["min_top1_agreement"])
    try:
        logits = _logits(file, images)
    except Exception as error:  # noqa: BLE001  ONNX Runtime's own, of many kinds
        return f"it cannot answer its reference images: {str(error).splitlines()[0]}", ""
    if logits.shape != expected.shape or not np.isfinite(logits).all():
        return f"it answers {logits.shape} where {expected.shape} was expected, or not in numbers", ""
    far = float(np.abs(logits - expected).max() / np.abs(expected).max())
    same = logits.argmax(1) == expected.argmax(1)
    agreement = float(same.mean())
    found = f"largest logit difference {far:.1e} of the largest logit, top-1 agreement {100 * agreement:.2f} %"
    if far > limit or int((~same).sum()) > _tolerated(len(images), 1 - least):
        return f"it answers otherwise than PyTorch did: {found} (limits {limit:.0e}, {100 * least:.2f} %)", ""
    return "", f"as published, and answers as it did ({len(images)} images: {found})"


def _tolerated(count: int, share: float) -> int:
    """Images that may be given another class, as in the server's check (server/backends/shared/reference_check.py)."""
    return max(int(count * share + 3 * (count * share * (1 - share)) ** 0.5), 1) if share > 0 else 0


def _logits(file: Path, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    session = onnxruntime.InferenceSession(file.read_bytes(), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    parts = [images[start : start + _BATCH_SIZE] for start in range(0, len(images), _BATCH_SIZE)]
    return np.concatenate([session.run(None, {name: part})[0] for part in parts])
