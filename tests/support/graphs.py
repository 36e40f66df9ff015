"""Tiny graphs, one for each thing that a configuration can get right or wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.support.models import save

FLOAT = TensorProto.FLOAT


def vector(path: Path, batch: str | int = "batch") -> Path:
    """x FP32 [batch, 4] -> y = 2 x."""
    nodes = [helper.make_node("Mul", ["x", "two"], ["y"])]
    two = numpy_helper.from_array(np.array(2, np.float32), "two")
    return save(nodes, [("x", FLOAT, [batch, 4])], [("y", FLOAT, [batch, 4])], path, [two])


def fixed_batch(path: Path) -> Path:
    """x FP32 [1, 4] -> y: a model exported without a dynamic batch."""
    return vector(path, batch=1)


def any_length(path: Path) -> Path:
    """x FP32 [batch, length] -> y = 2 x."""
    nodes = [helper.make_node("Add", ["x", "x"], ["y"])]
    return save(nodes, [("x", FLOAT, ["batch", "length"])], [("y", FLOAT, ["batch", "length"])], path)


def pair(path: Path) -> Path:
    """a, b FP32 [batch, 4] -> sum, difference."""
    nodes = [helper.make_node("Add", ["a", "b"], ["sum"]), helper.make_node("Sub", ["a", "b"], ["difference"])]
    shape = ["batch", 4]
    inputs, outputs = [("a", FLOAT, shape), ("b", FLOAT, shape)], [("sum", FLOAT, shape), ("difference", FLOAT, shape)]
    return save(nodes, inputs, outputs, path)


def scalar(path: Path) -> Path:
    """x FP32 [] -> y = 2 x."""
    return save([helper.make_node("Add", ["x", "x"], ["y"])], [("x", FLOAT, [])], [("y", FLOAT, [])], path)


def per_item(path: Path) -> Path:
    """x FP32 [batch] -> y = 2 x: nothing is left of the shape without the batch."""
    nodes = [helper.make_node("Add", ["x", "x"], ["y"])]
    return save(nodes, [("x", FLOAT, ["batch"])], [("y", FLOAT, ["batch"])], path)


def replaceable(path: Path) -> Path:
    """x FP32 [4] -> y = scale x, where a caller may give another scale than 3."""
    scale = numpy_helper.from_array(np.array([3], np.float32), "scale")
    nodes = [helper.make_node("Mul", ["x", "scale"], ["y"])]
    return save(nodes, [("x", FLOAT, [4]), ("scale", FLOAT, [1])], [("y", FLOAT, [4])], path, [scale])


def lookup(path: Path) -> Path:
    """index INT64 [batch, 1] -> y FP32 [batch, 1], ten times the index; an index beyond 9 fails the whole run."""
    table = numpy_helper.from_array(10 * np.arange(10, dtype=np.float32), "table")
    nodes = [helper.make_node("Gather", ["table", "index"], ["y"])]
    shape = ["batch", 1]
    return save(nodes, [("index", TensorProto.INT64, shape)], [("y", FLOAT, shape)], path, [table])


def counting(path: Path) -> Path:
    """x FP32 [batch, 4] -> y = x + how many of x are not 0: on a GPU, ONNX Runtime has to wait for that number."""
    nodes = [
        helper.make_node("NonZero", ["x"], ["places"]),
        helper.make_node("Shape", ["places"], ["count"], start=1),
        helper.make_node("Cast", ["count"], ["number"], to=FLOAT),
        helper.make_node("Add", ["x", "number"], ["y"]),
    ]
    return save(nodes, [("x", FLOAT, ["batch", 4])], [("y", FLOAT, ["batch", 4])], path)


def branching(path: Path) -> Path:
    """x FP32 [batch, 4] -> y = 2 x where the sum of x is above 0, else -x: control flow."""

    def branch(name: str, operator: str, inputs: list[str]) -> onnx.GraphProto:
        nodes = [helper.make_node(operator, inputs, [name])]
        return helper.make_graph(nodes, name, [], [helper.make_tensor_value_info(name, FLOAT, ["batch", 4])])

    nodes = [
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["above"]),
        helper.make_node(
            "If",
            ["above"],
            ["y"],
            then_branch=branch("doubled", "Add", ["x", "x"]),
            else_branch=branch("negative", "Neg", ["x"]),
        ),
    ]
    zero = numpy_helper.from_array(np.array(0, np.float32), "zero")
    return save(nodes, [("x", FLOAT, ["batch", 4])], [("y", FLOAT, ["batch", 4])], path, [zero])


def sequence(path: Path, batch: tuple[str, ...] = ("batch",)) -> Path:
    """x FP32 [batch, 4], START INT32 [batch, 1], CORRID UINT64 [batch, 1] -> y = x + 1000 START + 10 CORRID."""
    constants = {"thousand": 1000, "ten": 10}
    nodes = [
        helper.make_node("Cast", ["START"], ["start"], to=FLOAT),
        helper.make_node("Cast", ["CORRID"], ["id"], to=FLOAT),
        helper.make_node("Mul", ["start", "thousand"], ["begun"]),
        helper.make_node("Mul", ["id", "ten"], ["which"]),
        helper.make_node("Add", ["x", "begun"], ["sum"]),
        helper.make_node("Add", ["sum", "which"], ["y"]),
    ]
    inputs = [
        ("x", FLOAT, [*batch, 4]),
        ("START", TensorProto.INT32, [*batch, 1]),
        ("CORRID", TensorProto.UINT64, [*batch, 1]),
    ]
    return save(
        nodes,
        inputs,
        [("y", FLOAT, [*batch, 4])],
        path,
        [numpy_helper.from_array(np.array(number, np.float32), name) for name, number in constants.items()],
    )


def sequence_alone(path: Path) -> Path:
    """The same without a batch."""
    return sequence(path, ())


def echo(element_type: int) -> Callable[[Path], Path]:
    """x [batch, 3] -> y = x, of any data type."""

    def write(path: Path) -> Path:
        nodes = [helper.make_node("Identity", ["x"], ["y"])]
        return save(nodes, [("x", element_type, ["batch", 3])], [("y", element_type, ["batch", 3])], path)

    return write


def broken(path: Path) -> Path:
    """A file that is no ONNX model."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"this is no model")
    return path


def missing(path: Path) -> Path:
    """No file at all."""
    return path
