"""Does a model, where it runs, compute what the network computes? It answers `reference.npz` before it is ready.

The builder writes that file beside the model (builder/verification/reference.py says what is in it). An engine may be
right where it was built and wrong where it is served: another GPU, another library, another processor's arithmetic.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from files import name_of, sha256

Array = np.ndarray[Any, Any]
Config = Mapping[str, Any]
Infer = Callable[[list[Array]], list[Array]]
"""Requests that run as one batch -> their answers."""

FILE = "reference.npz"

PARAMETER = "reference_check"
"""The entry of the configuration's `parameters` that switches the check off; on where it is absent."""

_LIMITS = ("max_relative_difference", "min_top1_agreement", "model_sha256")
_HINT = f'build the model again, remove {FILE}, or switch the check off: parameter {PARAMETER} "off"'
_HINT_ALWAYS = f"build the model again, or remove {FILE}"


@dataclass(frozen=True)
class Reference:
    """Images, the network's answers, and how far a model's may be from them.

    Attributes:
        images: [N, ...], as the model takes them.
        logits: FP32 [N, C].
        max_relative_difference: of any logit, over the largest |logit|.
        min_top1_agreement: share of images given the same class, 0..1.
    """

    images: Array
    logits: Array
    max_relative_difference: float
    min_top1_agreement: float

    @property
    def tolerated(self) -> int:
        """Images that may be given another class.

        Of few images a share scatters, and ties lie where they lie: three standard deviations more, and one at least.
        """
        share, count = 1 - self.min_top1_agreement, len(self.images)
        return max(int(count * share + 3 * (count * share * (1 - share)) ** 0.5), 1) if share > 0 else 0


def prove(model: Path, config: Config, infer: Infer, batches: Sequence[Sequence[int]], *, always: bool = False) -> str:
    """Compare a model's answers with its reference.

    Args:
        model: its file; the reference lies beside it.
        config: its configuration.
        infer: runs one batch.
        batches: the sizes of the requests in each batch to run. The images go round among them, so that every answer
            is compared with that of its own image.
        always: the check cannot be switched off; for models whose arithmetic depends on the processor.

    Returns:
        what was found, for the log: that the model is proved, or why it could not be.

    Raises:
        ValueError: it computes something else, or the reference is damaged or another model's.
    """
    if _switched_off(config):
        if not always:
            return f'not proved: parameter {PARAMETER} is "off"'
        raise ValueError(f'parameter {PARAMETER} is "off", but a quantised model is always held against its reference')
    hint = _HINT_ALWAYS if always else _HINT
    path = model.with_name(FILE)
    if not path.is_file():
        return f"not proved: there is no {FILE} beside {name_of(Path(model.name))}"
    reference = load(path, model, hint)
    if reference is None:
        return f"not proved: {name_of(path)} is an older builder's, without limits; build the model again"
    return _compare(reference, infer, batches, f"{name_of(path)}; {hint}")


def check_owner(model: Path, config: Config) -> None:
    """Refuse a model that its reference does not name, before anything of it is run.

    Raises:
        ValueError: the reference is another model's, or damaged: the model's file may be too.
    """
    path = model.with_name(FILE)
    if path.is_file() and not _switched_off(config):
        load(path, model)


def load(path: Path, model: Path, hint: str = _HINT) -> Reference | None:
    """Read a reference.

    Returns:
        None for an older builder's file, which holds no limits and names no model.

    Raises:
        ValueError: it is damaged, holds other arrays, or is that of another model than the file `model`.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError) as error:
        raise ValueError(f"{name_of(path)} cannot be read: {error}; {hint}") from None
    except Exception as error:  # noqa: BLE001  a damaged zip's inner errors (zlib.error, struct.error) have no one base
        raise ValueError(f"{name_of(path)} is damaged: {error}; {hint}") from None
    if not any(name in arrays for name in _LIMITS):
        return None
    if missing := [name for name in ("images", "logits", *_LIMITS) if name not in arrays]:
        raise ValueError(f"{name_of(path)} holds no array '{missing[0]}'; {hint}")
    images, logits = arrays["images"], arrays["logits"]
    numbers = logits.ndim == 2 and logits.dtype == np.float32 and bool(np.isfinite(logits).all())
    if not (numbers and images.ndim >= 1 and 0 < len(images) == len(logits)):
        found = f"images {images.dtype} {list(images.shape)} and logits {logits.dtype} {list(logits.shape)}"
        raise ValueError(f"{name_of(path)}: expected N images and finite logits float32 [N, C], found {found}; {hint}")
    wanted, found = str(arrays["model_sha256"]), sha256(model)
    if wanted != found:
        raise ValueError(
            f"{name_of(path)} is the reference of another model: expected one of SHA-256 {wanted[:12]}..., found "
            f"{name_of(Path(model.name))} of {found[:12]}...; {hint}"
        )
    return Reference(images, logits, *(float(arrays[name]) for name in _LIMITS[:2]))


def batches_on_cpu(config: Config) -> list[list[int]]:
    """64 images, some 0.4 s of ResNet18 on two cores: alone, together, and in requests of different sizes."""
    return _within(config, ([1], [7], [3, 1, 5], [47]))


def batches_of(sizes: Sequence[int], config: Config) -> list[list[int]]:
    """Every prepared size once, for each has kernels and a graph of its own, and requests of different sizes."""
    return _within(config, [*([size] for size in sizes), [3, 1, 5]])


def _within(config: Config, batches: Sequence[list[int]]) -> list[list[int]]:
    """Drop what a model does not take; one that does not batch (0) gets its requests one by one."""
    limit = config["max_batch_size"]
    if limit > 0:
        return [batch for batch in batches if sum(batch) <= limit] or [[1]]
    first = int((config["input"][0]["dims"] or [1])[0])
    return [[size] for batch in batches for size in batch] if first < 0 else [[first]]


def _switched_off(config: Config) -> bool:
    value = config.get("parameters", {}).get(PARAMETER, {}).get("string_value", "on")
    if value not in ("on", "off"):
        raise ValueError(f"parameter {PARAMETER}: expected on or off, found '{value}'")
    return bool(value == "off")


def _compare(reference: Reference, infer: Infer, batches: Sequence[Sequence[int]], where: str) -> str:
    largest = max(float(np.abs(reference.logits).max()), float(np.finfo(np.float32).tiny))
    worst, other, compared = 0.0, set(), 0
    for indices in _go_round(len(reference.images), batches):
        for asked, answer in zip(indices, infer([reference.images[part] for part in indices]), strict=True):
            expected = reference.logits[asked]
            if answer.shape != expected.shape:
                raise ValueError(f"expected logits {list(expected.shape)}, found {list(answer.shape)}: {where}")
            answer = answer.astype(np.float32)
            difference = float(np.abs(answer - expected).max()) / largest
            if not difference <= reference.max_relative_difference:  # NaN is not below any limit
                raise ValueError(
                    f"the model computes something else than the network: a logit differs by {difference:.1e} of the "
                    f"largest (limit {reference.max_relative_difference:.0e}) in a batch of "
                    f"{sum(map(len, indices))}: {where}"
                )
            worst, compared = max(worst, difference), compared + len(answer)
            other |= set(asked[answer.argmax(axis=1) != expected.argmax(axis=1)].tolist())
    if len(other) > reference.tolerated:
        raise ValueError(
            f"the model computes something else than the network: {len(other)} images are given another class "
            f"(limit {reference.tolerated}): {where}"
        )
    return (
        f"proved: {compared} answers are the network's; largest difference {worst:.1e} of the largest logit "
        f"(limit {reference.max_relative_difference:.0e}), another class for {len(other)} images"
    )


def _go_round(count: int, batches: Sequence[Sequence[int]]) -> Iterator[list[Array]]:
    """The images' numbers for each request of each batch, going on where the last one ended."""
    start = 0
    for sizes in batches:
        requests = []
        for size in sizes:
            requests.append(np.arange(start, start + size) % count)
            start += size
        yield requests
