"""Models that compute right logits and answer wrong, served by the real Triton as Python models."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cifar10 import IMAGE_SHAPE, synthetic_images
from tests.support.models import add_model, tensor

SOURCE = Path(__file__).with_name("faulty_model.py")


def add_faulty(
    repository: Path, name: str, fault: str = "none", *, network: Path | None = None, max_batch_size: int = 64
) -> Path:
    """Add a model of this project's signature with a fault of `faulty_model.py`; returns its version's directory.

    Args:
        repository: where.
        name: the model's.
        fault: a method of `faulty_model.py`.
        network: an ONNX file that computes the logits; None for a projection that costs nothing.
        max_batch_size: images a request may hold.
    """
    text = (
        f'backend: "python"\nmax_batch_size: {max_batch_size}\ninstance_group {{ kind: KIND_CPU }}\n'
        + tensor("input", "images", "TYPE_UINT8", IMAGE_SHAPE)
        + tensor("output", "logits", "TYPE_FP32", [10])
        + "dynamic_batching { max_queue_delay_microseconds: 2000 }\n"
        + f'parameters {{ key: "fault" value {{ string_value: "{fault}" }} }}\n'
    )
    directory = add_model(repository, name, text).parent
    (directory / "model.py").write_text(SOURCE.read_text())
    if network is not None:
        (directory / "network.onnx").symlink_to(network.resolve())
    return directory


def write_reference(directory: Path, count: int = 128) -> Path:
    """The projection's answers to synthetic images, as the builder leaves a network's."""
    images = synthetic_images(count)
    namespace: dict[str, object] = {}
    source = SOURCE.read_text().replace("import triton_python_backend_utils as pb_utils", "")
    exec(compile(source, str(SOURCE), "exec"), namespace)
    path = directory / "reference.npz"
    np.savez(path, images=images, logits=namespace["projection"](images))
    return path
