"""Tiny ONNX models and the repositories that hold them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from cifar10 import CLASS_NAMES, IMAGE_SHAPE

PLATFORM = 'platform: "onnxruntime_onnx"\n'


def save(nodes, inputs, outputs, path: Path, initializers=()) -> Path:
    """Write a graph as ONNX; `inputs` and `outputs` are (name, element type, shape)."""
    values = [[helper.make_tensor_value_info(*value) for value in values] for values in (inputs, outputs)]
    graph = helper.make_graph(nodes, "tiny", *values, initializer=list(initializers))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


def add_model(repository: Path, name: str, config: str) -> Path:
    """Write config.pbtxt; returns where model.onnx belongs."""
    directory = repository / name
    (directory / "1").mkdir(parents=True)
    (directory / "config.pbtxt").write_text(config)
    return directory / "1" / "model.onnx"


def tensor(kind: str, name: str, dtype: str, dims) -> str:
    return f'{kind} {{ name: "{name}" data_type: {dtype} dims: {list(dims)} }}\n'


def add_doubler(repository: Path, name: str = "doubler", *, config: str = "", batch: str | int = "batch") -> Path:
    """y = 2 x for FP32 vectors of any length: whoever gets another's answer notices."""
    text = PLATFORM + "max_batch_size: 16\n" + tensor("input", "x", "TYPE_FP32", [-1])
    path = add_model(repository, name, config or text + tensor("output", "y", "TYPE_FP32", [-1]) + BATCHING)
    two = numpy_helper.from_array(np.array(2, np.float32), "two")
    shape = [batch, "length"]
    nodes = [helper.make_node("Mul", ["x", "two"], ["y"])]
    return save(nodes, [("x", TensorProto.FLOAT, shape)], [("y", TensorProto.FLOAT, shape)], path, [two])


BATCHING = "dynamic_batching { max_queue_delay_microseconds: 20000 }\n"


def add_classifier(
    repository: Path,
    name: str = "classifier",
    *,
    config: str = "",
    modulus: int = 10,
    labels: tuple[str, ...] = CLASS_NAMES,
) -> Path:
    """A network with this project's signature whose class is the first pixel's red value modulo `modulus`."""
    path = add_model(
        repository,
        name,
        PLATFORM
        + "max_batch_size: 64\n"
        + tensor("input", "images", "TYPE_UINT8", IMAGE_SHAPE)
        + 'output { name: "logits" data_type: TYPE_FP32 dims: [10] label_filename: "labels.txt" }\n'
        + (config or BATCHING),
    )
    (repository / name / "labels.txt").write_text("".join(f"{label}\n" for label in labels))
    constants = {
        "axes": np.array([1, 2, 3], np.int64),
        "modulus": np.array(modulus, np.int64),
        "classes": np.arange(10, dtype=np.int64).reshape(1, 10),
        "starts": np.zeros(3, np.int64),
        "ends": np.ones(3, np.int64),
        "column": np.array([-1, 1], np.int64),
    }
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.INT64),
        helper.make_node("Slice", ["pixels", "starts", "ends", "axes"], ["corner"]),
        helper.make_node("Reshape", ["corner", "column"], ["red"]),
        helper.make_node("Mod", ["red", "modulus"], ["class"]),
        helper.make_node("Equal", ["class", "classes"], ["hit"]),
        helper.make_node("Cast", ["hit"], ["logits"], to=TensorProto.FLOAT),
    ]
    return save(
        nodes,
        [("images", TensorProto.UINT8, ["batch", *IMAGE_SHAPE])],
        [("logits", TensorProto.FLOAT, ["batch", 10])],
        path,
        [numpy_helper.from_array(array, key) for key, array in constants.items()],
    )


def add_convolution(repository: Path, name: str = "convolution") -> Path:
    """A convolution, a ReLU and a mean: arithmetic whose last bits depend on the order of the additions."""
    path = add_model(
        repository,
        name,
        PLATFORM
        + "max_batch_size: 64\n"
        + tensor("input", "x", "TYPE_FP32", [3, 32, 32])
        + tensor("output", "y", "TYPE_FP32", [16])
        + BATCHING
        + "instance_group { kind: KIND_CPU }\n",
    )
    weights = np.random.default_rng(0).normal(size=(16, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "weights"], ["features"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["features"], ["positive"]),
        helper.make_node("ReduceMean", ["positive", "axes"], ["y"], keepdims=0),
    ]
    constants = [
        numpy_helper.from_array(weights, "weights"),
        numpy_helper.from_array(np.array([2, 3], np.int64), "axes"),
    ]
    shapes = ["batch", 3, 32, 32], ["batch", 16]
    return save(nodes, [("x", TensorProto.FLOAT, shapes[0])], [("y", TensorProto.FLOAT, shapes[1])], path, constants)


_SLEEPER = """
import time
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        time.sleep({seconds} * len(requests))
        answers = []
        for request in requests:
            count = pb_utils.get_input_tensor_by_name(request, "images").as_numpy().shape[0]
            logits = pb_utils.Tensor("logits", np.zeros((count, 10), np.float32))
            answers.append(pb_utils.InferenceResponse([logits]))
        return answers
"""


def add_sleeper(repository: Path, name: str = "sleeper", *, seconds: float = 0.02, config: str = "") -> None:
    """A model with this project's signature that takes a known time for a request, one after the other."""
    text = (
        'backend: "python"\nmax_batch_size: 64\ninstance_group { kind: KIND_CPU }\n'
        + tensor("input", "images", "TYPE_UINT8", IMAGE_SHAPE)
        + tensor("output", "logits", "TYPE_FP32", [10])
    )
    path = add_model(repository, name, text + config)
    (path.parent / "model.py").write_text(_SLEEPER.replace("{seconds}", str(seconds)))


_PLANNER = """
import time
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self.last = None

    def execute(self, requests):
        images = [pb_utils.get_input_tensor_by_name(request, "images").as_numpy() for request in requests]
        total = sum(len(batch) for batch in images)
        time.sleep({same} + ({change} if total != self.last else 0))
        self.last = total
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor("logits", np.zeros((len(batch), 10), np.float32))])
            for batch in images
        ]
"""


def add_planner(
    repository: Path, name: str = "planner", *, same: float = 0.005, change: float = 0.04, config: str = ""
) -> None:
    """A model with this project's signature that takes longer whenever the batch size differs from the one before.

    Args:
        repository: where to.
        name: the model's.
        same: seconds of an execution.
        change: seconds more after another size; each instance remembers its own last one.
        config: added to its configuration.
    """
    text = (
        'backend: "python"\nmax_batch_size: 64\n'
        + tensor("input", "images", "TYPE_UINT8", IMAGE_SHAPE)
        + tensor("output", "logits", "TYPE_FP32", [10])
    )
    path = add_model(repository, name, text + (config or "instance_group { kind: KIND_CPU }\n"))
    (path.parent / "model.py").write_text(_PLANNER.replace("{same}", str(same)).replace("{change}", str(change)))
