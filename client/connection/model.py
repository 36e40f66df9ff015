"""A model as the server describes it: its name and version, and whether it is one of this project's."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from cifar10 import CLASS_NAMES, IMAGE_SHAPE
from client.errors import ClientError

INPUT = ("images", "UINT8", [-1, *IMAGE_SHAPE])
OUTPUT = ("logits", "FP32", [-1, len(CLASS_NAMES)])
"""Name, data type and shape of the tensors that this project's models have."""

_VERSION = re.compile("0|[1-9][0-9]*")
"""As Triton writes one; it would take "1:" or "01" for 1 as well, and answer with a version that nobody named."""


@dataclass(frozen=True)
class Model:
    """A model as the server describes it.

    Attributes:
        name: its name.
        version: the version that answers.
        platform: its engine, as in "onnxruntime_onnx".
        max_batch_size: images a request may hold.
        configuration: what the server says of the configuration it has loaded: `triton_configuration.summary`.
        versions: those that are ready, ascending.
        label: what results and tables call it: its name, or NAME:N where that version was asked for.
    """

    name: str
    version: str
    platform: str
    max_batch_size: int
    configuration: dict[str, Any] = field(default_factory=dict, compare=False)
    versions: tuple[str, ...] = field(default=(), compare=False)
    label: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", self.label or self.name)


def in_order(versions: Iterable[str]) -> tuple[str, ...]:
    """Versions without repetitions, ascending; what is no version is left out."""
    found = {version for version in versions if _VERSION.fullmatch(version)}
    return tuple(sorted(found, key=lambda version: (len(version), version)))


def check_name(name: str) -> None:
    """See that a model's name can be sent: a command line may hold any bytes.

    Raises:
        ClientError: it is not UTF-8.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ClientError(f"a model's name must be UTF-8; found {name!r}", "is --model spelt right?") from None


def check_version(name: str, version: str, ready: Callable[[str], tuple[str, ...]]) -> None:
    """See that a version is written as Triton writes it.

    Args:
        name: the model.
        version: what was asked for.
        ready: gives the versions of a model that can answer, for whoever asked for another.

    Raises:
        ClientError: it is not.
    """
    if not _VERSION.fullmatch(version):
        raise ClientError(
            f"a version of model '{name}' must be a whole number; found {version!r}, and {readiness(ready(name))}",
            f"--model {name}:N",
        )


def check_tensors(name: str, metadata: Any) -> None:
    """See that a model takes raw CIFAR-10 images and gives logits, by its `ModelMetadataResponse`.

    Raises:
        ClientError: it does not.
    """
    for tensors, expected in ((metadata.inputs, INPUT), (metadata.outputs, OUTPUT)):
        found = [(tensor.name, tensor.datatype, list(tensor.shape)) for tensor in tensors]
        if found != [expected]:
            raise ClientError(
                f"model '{name}' is not one of this project's: expected {_described([expected])}, "
                f"found {_described(found)}"
            )


def readiness(versions: tuple[str, ...]) -> str:
    """Which versions are ready, in words."""
    if len(versions) < 2:
        return f"version {versions[0]} is ready" if versions else "no version is ready"
    return f"versions {', '.join(versions[:-1])} and {versions[-1]} are ready"


def _described(tensors: list[tuple[str, str, list[int]]]) -> str:
    return ", ".join(f"{name} {dtype} {shape}" for name, dtype, shape in tensors) or "nothing"
