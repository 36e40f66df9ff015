"""Text that is not ASCII, wherever a user may write some, in an environment that says ASCII; the real tritonserver."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
import tritonclient.grpc as grpcclient
from onnx import TensorProto, helper, numpy_helper
from tritonclient.utils import InferenceServerException

from tests.support import graphs
from tests.support.models import PLATFORM, add_model, save, tensor
from tests.support.triton import Served, start_server

pytestmark = pytest.mark.triton

CPU = "instance_group { count: 1 kind: KIND_CPU }\n"
X, Y = tensor("input", "x", "TYPE_FP32", [4]), tensor("output", "y", "TYPE_FP32", [4])
ONNX = PLATFORM + "max_batch_size: 4\n"
DOUBLER = ONNX + X + Y + CPU


def write(repository: Path, name: str, config: str | bytes = DOUBLER, file: str = "model.onnx") -> Path:
    path = add_model(repository, name, "").with_name(file)
    (repository / name / "config.pbtxt").write_bytes(config if isinstance(config, bytes) else config.encode())
    return graphs.vector(path)


def renamed(path: Path) -> Path:
    """größe FP32 [batch, 4] -> 値 = 2 größe."""
    nodes = [helper.make_node("Add", ["größe", "größe"], ["値"])]
    shape = ["batch", 4]
    return save(nodes, [("größe", TensorProto.FLOAT, shape)], [("値", TensorProto.FLOAT, shape)], path)


def with_external_data(path: Path) -> Path:
    """The doubler with its constant in a file beside it."""
    graphs.vector(path)
    model = onnx.load(path)
    del model.graph.initializer[:]
    model.graph.initializer.append(numpy_helper.from_array(np.full(1024, 2, np.float32), "many"))
    model.graph.node.insert(0, helper.make_node("ReduceMax", ["many"], ["two"], keepdims=0))
    onnx.save(model, path, save_as_external_data=True, location="gewichte größe.bin", size_threshold=0)
    return path


PYTHON = """
# größe
import json
from pathlib import Path
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        arrays = [pb_utils.get_input_tensor_by_name(request, "x").as_numpy() for request in requests]
        if any((array < 0).any() for array in arrays):
            raise ValueError("größe < 0: 負")
        return [pb_utils.InferenceResponse([pb_utils.Tensor("y", 2 * array)]) for array in arrays]
"""


def ask(served: Served, model: str, x: str = "x", y: str = "y", sign: float = 1) -> bool:
    question = sign * np.random.default_rng().uniform(1, 2, (2, 4)).astype(np.float32)
    given = grpcclient.InferInput(x, question.shape, "FP32")
    given.set_data_from_numpy(question)
    with grpcclient.InferenceServerClient(served.grpc) as client:
        return np.array_equal(client.infer(model, [given], client_timeout=30).as_numpy(y), 2 * question)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    repository = tmp_path_factory.mktemp("größe 模型") / "модели"
    write(repository, "comment", "# größe, 模型\n" + DOUBLER)
    write(repository, "latin_1_comment", b"# gr\xf6\xdfe\n" + DOUBLER.encode())
    write(repository, "parameter", DOUBLER + 'parameters { key: "作者" value { string_value: "王" } }\n')
    write(repository, "instance", DOUBLER.replace("count", 'name: "größe" count'))
    write(repository, "escaped", DOUBLER + 'parameters { key: "a" value { string_value: "gr\\303\\266" } }\n')
    write(repository, "größe")
    write(repository, "模型")
    write(repository, "🐦 twitter")
    write(repository, "file", f'default_model_filename: "größe.onnx"\n{DOUBLER}', "größe.onnx")
    renamed(add_model(repository, "tensors", ""))
    names = tensor("input", "größe", "TYPE_FP32", [4]) + tensor("output", "値", "TYPE_FP32", [4])
    (repository / "tensors/config.pbtxt").write_text(ONNX + names + CPU, encoding="utf-8")
    with_external_data(add_model(repository, "external größe", DOUBLER))
    label = Y.replace("}", ' label_filename: "bezeichnungen größe.txt" }')
    write(repository, "labels", ONNX + X + label + CPU)
    (repository / "labels/bezeichnungen größe.txt").write_text("groß\nklein\n猫\n🐦\n", encoding="utf-8")
    warm = 'inputs { key: "x" value { data_type: TYPE_FP32 dims: [4] input_data_file: "größe" } }'
    write(repository, "warm", DOUBLER + f'model_warmup {{ name: "größe" batch_size: 1 {warm} }}\n')
    (repository / "warm/warmup").mkdir()
    (repository / "warm/warmup/größe").write_bytes(np.ones(4, np.float32).tobytes())
    text = tensor("input", "x", "TYPE_STRING", [3]) + tensor("output", "y", "TYPE_STRING", [3])
    graphs.echo(TensorProto.STRING)(add_model(repository, "texts", ONNX + text + CPU))
    for name in ("python", "python größe"):
        path = add_model(repository, name, 'backend: "python"\nmax_batch_size: 4\n' + X + Y + CPU)
        path.with_name("model.py").write_text(PYTHON, encoding="utf-8")
    write(repository, "fehlt größe").unlink()
    with start_server(repository, env={**os.environ, "LC_ALL": "C"}) as server:
        yield server


@pytest.mark.parametrize(
    "model",
    [
        "comment",
        "latin_1_comment",
        "parameter",
        "instance",
        "escaped",
        "größe",
        "模型",
        "🐦 twitter",
        "file",
        "external größe",
        "labels",
        "warm",
        "python",
        "python größe",
    ],
)
def test_a_model_with_text_that_is_not_ascii_answers(model, served):
    assert model in served.models, served.left_out.get(model)
    assert ask(served, model)


def test_tensors_have_any_name(served):
    assert ask(served, "tensors", "größe", "値")


def test_texts_arrive_as_they_were_sent(served):
    texts = np.array([["größe", "猫", "🐦"]], np.object_)
    given = grpcclient.InferInput("x", texts.shape, "BYTES")
    given.set_data_from_numpy(texts)
    with grpcclient.InferenceServerClient(served.grpc) as client:
        answer = client.infer("texts", [given], client_timeout=30).as_numpy("y")
    assert [text.decode() for text in answer.flat] == list(texts.flat)


def test_labels_arrive_as_they_were_written(served):
    given = grpcclient.InferInput("x", [1, 4], "FP32")
    given.set_data_from_numpy(np.array([[0, 0, 1, 0]], np.float32))
    wanted = [grpcclient.InferRequestedOutput("y", class_count=1)]
    with grpcclient.InferenceServerClient(served.grpc) as client:
        answer = client.infer("labels", [given], outputs=wanted, client_timeout=30).as_numpy("y")
    assert answer.flat[0].decode() == "2.000000:2:猫"


@pytest.mark.parametrize("model", ["python", "python größe"])
def test_an_error_s_words_arrive(model, served):
    with pytest.raises(InferenceServerException, match="größe < 0: 負"):
        ask(served, model, sign=-1)


def test_a_missing_file_is_called_missing_where_the_user_has_it(served):
    assert "there is no model.onnx in " in served.left_out["fehlt größe"]
    assert "/модели/fehlt größe/1" in served.left_out["fehlt größe"]
    assert "embedded_triton" not in served.left_out["fehlt größe"]
