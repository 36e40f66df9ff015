"""The backend's model.py in the real embedded Triton, answering over gRPC; only the GPU and its engine are played.

Large batches are answered by a thread of their own while the next is fetched: every answer must still be its request's.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
from tritonclient.utils import InferenceServerException

from cifar10 import IMAGE_SHAPE, synthetic_images
from tests.support.fake_gpu import answers
from tests.support.models import add_model, tensor
from tests.support.references import write_reference
from tests.support.triton import ROOT, start_server

pytestmark = pytest.mark.triton

IMAGES = synthetic_images(300)

_MODEL = """
import importlib.util, sys
from pathlib import Path

root = Path({root!r})
folders = "server/backends/tensorrt", "server/backends/shared", "tests/support"
sys.path[:0] = [str(root / folder) for folder in folders]
import plan_serving
from engine_facts import EngineFacts, EngineTensor, Range
from fake_gpu import FakeEngine, FakeGpu
from graph_specs import graph_specs
from plan_executor import PlanExecutor


def open_plan(args, config):
    gpu = FakeGpu()
    shapes = Range(*((size, 32, 32, 3) for size in (1, 64, 256)))
    images = EngineTensor("images", True, "TYPE_UINT8", (-1, 32, 32, 3))
    logits = EngineTensor("logits", False, "TYPE_FP32", (-1, 10))
    facts = EngineFacts((images, logits), ({{"images": shapes}},))
    executor = PlanExecutor(gpu, FakeEngine(gpu, seconds=0.002, wrong={wrong}), facts, [0], config, lambda: None)
    executor.prepare(graph_specs(config))
    path = Path(args["model_repository"]) / args["model_version"] / "model.plan"
    return path, executor, ["a fake engine"], ""


plan_serving.open_plan = open_plan
found = importlib.util.spec_from_file_location("served", root / "server/backends/tensorrt/model.py")
served = importlib.util.module_from_spec(found)
found.loader.exec_module(served)
TritonPythonModel = served.TritonPythonModel
"""


def add_fake_plan(repository: Path, name: str, *, wrong: float = 0.0, instances: int = 1) -> None:
    text = f'backend: "python"\nmax_batch_size: 256\ninstance_group {{ kind: KIND_CPU count: {instances} }}\n'
    text += tensor("input", "images", "TYPE_UINT8", IMAGE_SHAPE) + tensor("output", "logits", "TYPE_FP32", [10])
    text += "dynamic_batching { }\noptimization { cuda { graphs: true } }\n"
    path = add_model(repository, name, text).with_name("model.plan")
    path.write_bytes(b"a plan")
    path.with_name("model.py").write_text(_MODEL.format(root=str(ROOT), wrong=wrong))
    write_reference(path, IMAGES[:64], answers(IMAGES[:64]))


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    repository = tmp_path_factory.mktemp("plans")
    add_fake_plan(repository, "one")
    add_fake_plan(repository, "two", instances=2)
    add_fake_plan(repository, "wrong", wrong=5.0)
    with (
        start_server(repository, "--load=one", "--load=two") as server,
        grpcclient.InferenceServerClient(server.grpc) as client,
    ):
        yield client


def ask(client, model: str, number: int, size: int) -> None:
    batch = IMAGES[np.arange(number, number + size) % len(IMAGES)]
    given = grpcclient.InferInput("images", batch.shape, "UINT8")
    given.set_data_from_numpy(batch)
    found = client.infer(model, [given], client_timeout=60).as_numpy("logits")
    np.testing.assert_allclose(found, answers(batch), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("model", ["one", "two"])
@pytest.mark.parametrize("sizes", [(1,), (64,), (256,), (1, 7, 64, 30, 256, 2, 100)])
def test_every_answer_is_its_requests_own(client, model, sizes):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: ask(client, model, 17 * number, sizes[number % len(sizes)]), range(60)))


def test_a_bad_request_fails_alone(client):
    batch = np.zeros((257, *IMAGE_SHAPE), np.uint8)
    given = grpcclient.InferInput("images", batch.shape, "UINT8")
    given.set_data_from_numpy(batch)
    with pytest.raises(InferenceServerException, match="batch-size must be <= 256"):
        client.infer("one", [given])
    ask(client, "one", 0, 64)


def test_a_model_that_computes_something_else_is_never_ready(client):
    with pytest.raises(InferenceServerException, match="computes something else than the network"):
        client.load_model("wrong")
    assert client.is_model_ready("one")


def test_a_model_is_unloaded_and_loaded_while_it_answers(client):
    with ThreadPoolExecutor(4) as pool:
        flying = [pool.submit(ask, client, "two", number, 128) for number in range(20)]
        for each in flying:
            each.result()
    client.unload_model("two")
    client.load_model("two")
    ask(client, "two", 3, 200)
