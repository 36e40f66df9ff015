"""A client that knows nothing of this project: what it sends follows from the server's metadata and configuration.

NVIDIA's example clients for image classification work so. What they read (one input of three dimensions and a format
that says where the colours are, one output that is a vector, labels that the classification extension gives) is what a
model has to say of itself to be served to strangers.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient
from tritonclient.utils import triton_to_np_dtype

from builder.export import onnx_export
from builder.network import checkpoint
from builder.signature import BATCH_SIZES
from cifar10 import CLASS_NAMES
from tests.support.triton import ROOT, start_server

pytestmark = pytest.mark.triton

IMAGES = 50
GOLDENS = ROOT / "tests/builder/triton_config/goldens"


@dataclass(frozen=True)
class Facts:
    """What the server says of a classifier of images.

    Attributes:
        name: of the input.
        output: its name.
        dtype: Triton's name of the input's type.
        order: "HWC" or "CHW".
        height: of an image, in pixels.
        width: likewise.
        most: images a request may hold; 0 where a request is one image without a batch dimension.
    """

    name: str
    output: str
    dtype: str
    order: str
    height: int
    width: int
    most: int


class Stranger:
    """Asks one server over one protocol."""

    def __init__(self, protocol: str, url: str) -> None:
        self._library = {"http": httpclient, "grpc": grpcclient}[protocol]
        self._client = self._library.InferenceServerClient(url)
        self._as_json = {} if protocol == "http" else {"as_json": True}

    def __enter__(self) -> Stranger:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def facts(self, model: str) -> Facts:
        """Read metadata and configuration; a model that does not say enough is no classifier of images."""
        metadata: Any = self._client.get_model_metadata(model, **self._as_json)
        config: Any = self._client.get_model_config(model, **self._as_json)
        config = config.get("config", config)
        (tensor,), (output,), (described,) = metadata["inputs"], metadata["outputs"], config["input"]
        most = int(config.get("max_batch_size", 0))
        shape = [int(size) for size in tensor["shape"]][bool(most) :]
        logits = [int(size) for size in output["shape"]][bool(most) :]
        assert len(shape) == 3, "an image has three dimensions"
        assert sum(size != 1 for size in logits) == 1, "scores are a vector"
        assert described["name"] == tensor["name"]
        order = {"FORMAT_NHWC": "HWC", "FORMAT_NCHW": "CHW"}[described["format"]]
        sizes = dict(zip(order, shape, strict=True))
        assert sizes["C"] == 3, "red, green and blue"
        return Facts(tensor["name"], output["name"], tensor["datatype"], order, sizes["H"], sizes["W"], most)

    def classes(self, model: str, files: list[Path], batch_size: int) -> list[tuple[int, str]]:
        """The best class of each image file, as index and label, by the classification extension."""
        facts = self.facts(model)
        images = [_read(file, facts) for file in files]
        size = min(batch_size, facts.most) or 1
        found: list[tuple[int, str]] = []
        for start in range(0, len(images), size):
            batch = np.stack(images[start : start + size])
            tensor = self._library.InferInput(facts.name, list(batch.shape), facts.dtype)
            tensor.set_data_from_numpy(batch)
            asked = self._library.InferRequestedOutput(facts.output, class_count=1)
            answer = self._client.infer(model, [tensor], outputs=[asked]).as_numpy(facts.output)
            assert len(answer) == len(batch)
            for entry in answer.reshape(-1):
                _, index, label = entry.decode().split(":", 2)
                found.append((int(index), label))
        return found


def _read(file: Path, facts: Facts) -> np.ndarray:
    """An image file as the model wants it."""
    from PIL import Image

    with Image.open(file) as image:
        resized = image.convert("RGB").resize((facts.width, facts.height), Image.Resampling.BILINEAR)
    pixels = np.asarray(resized).astype(triton_to_np_dtype(facts.dtype))
    return pixels if facts.order == "HWC" else pixels.transpose(2, 0, 1)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The network that ships, with the configurations that the builder writes."""
    repository = tmp_path_factory.mktemp("repository")
    model = repository / "resnet18_onnx"
    shutil.copytree(GOLDENS / "resnet18_onnx", model)
    (model / "labels.txt").write_text("".join(f"{name}\n" for name in CLASS_NAMES))
    (model / "1").mkdir()
    network = checkpoint.load(ROOT / "builder/network/checkpoints/best.safetensors").classifier()
    (model / "1/model.onnx").write_bytes(onnx_export.export(network, BATCH_SIZES))
    with start_server(repository) as server:
        yield server


@pytest.fixture(scope="module")
def pictures(cifar10_test, tmp_path_factory) -> list[tuple[Path, int]]:
    """Real images as PNG files, with their classes."""
    from PIL import Image

    directory = tmp_path_factory.mktemp("pictures")
    found = []
    for number in range(IMAGES):
        path = directory / f"{number}.png"
        Image.fromarray(cifar10_test.images[number]).save(path)
        found.append((path, int(cifar10_test.labels[number])))
    return found


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_what_the_server_says_of_a_model_suffices(served, protocol):
    with Stranger(protocol, getattr(served, protocol)) as stranger:
        assert stranger.facts("resnet18_onnx") == Facts("images", "logits", "UINT8", "HWC", 32, 32, 256)


@pytest.mark.parametrize("batch_size", [1, 16, 1000], ids=["one", "many", "more than it takes"])
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_stranger_gets_the_right_classes_of_real_images(served, pictures, protocol, batch_size):
    with Stranger(protocol, getattr(served, protocol)) as stranger:
        found = stranger.classes("resnet18_onnx", [path for path, _ in pictures], batch_size)
    assert [label for _, label in found] == [CLASS_NAMES[index] for index, _ in found]
    right = sum(index == label for (index, _), (_, label) in zip(found, pictures, strict=True))
    assert right >= 46, (
        "49 of the first 50 test images (JPEG copy); a mistake in their making costs far more than three"
    )
