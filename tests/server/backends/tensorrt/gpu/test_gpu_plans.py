"""Plans of TensorRT for RTX on a GPU, in the embedded Triton: `pytest -m gpu`."""

from __future__ import annotations

import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
from google.protobuf import text_format
from tritonclient.utils import InferenceServerException

from builder.signature import BATCH_SIZES
from builder.triton_config import config_pbtxt
from builder.variants import VARIANTS
from cifar10 import synthetic_images
from tests.server.backends.onnxruntime.gpu.test_gpu_backend import require_gpu
from tests.support.models import add_doubler
from tests.support.plans import answers, build_plans
from tests.support.references import write_reference
from tests.support.triton import run_server, start_server

pytestmark = [pytest.mark.gpu, pytest.mark.triton, pytest.mark.slow]

IMAGES = synthetic_images(256)
ON_DEVICE = 'parameters { key: "FORCE_CPU_ONLY_INPUT_TENSORS" value { string_value: "no" } }\n'


@pytest.fixture(scope="module")
def plan(tmp_path_factory) -> Path:
    require_gpu()
    return build_plans(tmp_path_factory.mktemp("plans"), {"base": [(1, 64, 256)]}, "tensorrt_rtx")["base"]


def add_plan(repository: Path, name: str, plan: Path, *, instances: int = 1, extra: str = "") -> Path:
    config = config_pbtxt.model_config(VARIANTS["resnet18_tensorrt"], BATCH_SIZES)
    config.name, config.platform, config.backend = name, "", "tensorrt_rtx"
    config.instance_group[0].count = instances
    version = repository / name / "1"
    version.mkdir(parents=True)
    (version.parent / "config.pbtxt").write_text(text_format.MessageToString(config) + extra)
    (version.parent / "labels.txt").write_text("".join(f"{number}\n" for number in range(10)))
    return Path(shutil.copy(plan, version / "model.plan"))


@pytest.fixture(scope="module")
def repository(plan, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("repository")
    add_doubler(path, "present")
    proved = add_plan(path, "proved", plan)
    write_reference(proved, IMAGES[:64], answers(IMAGES[:64]), relative=2e-2, top1=0.9)
    add_plan(path, "two", plan, instances=2)
    add_plan(path, "on_device", plan, extra=ON_DEVICE)
    wrong = add_plan(path, "wrong", plan)
    write_reference(wrong, IMAGES[:64], np.roll(answers(IMAGES[:64]), 1, axis=1), relative=2e-2, top1=0.9)
    exchanged = add_plan(path, "exchanged", plan)
    write_reference(exchanged, IMAGES[:64], answers(IMAGES[:64]))
    exchanged.write_bytes(plan.read_bytes()[:-8] + bytes(8))
    add_plan(path, "of_tensorrt", plan).write_bytes(b"ftrt" + plan.read_bytes()[4:])
    return path


@pytest.fixture(scope="module")
def client(repository):
    loads = [f"--load={name}" for name in ("present", "proved", "two", "on_device")]
    with start_server(repository, *loads) as server, grpcclient.InferenceServerClient(server.grpc) as client:
        yield client


def ask(client, model: str, number: int, size: int) -> None:
    batch = IMAGES[np.arange(number, number + size) % len(IMAGES)]
    given = grpcclient.InferInput("images", batch.shape, "UINT8")
    given.set_data_from_numpy(batch)
    found = client.infer(model, [given], client_timeout=60).as_numpy("logits")
    np.testing.assert_allclose(found, answers(batch), rtol=1e-2, atol=0.5)


@pytest.mark.parametrize("model", ["proved", "two", "on_device"])
@pytest.mark.parametrize("sizes", [(1,), (64,), (256,), (1, 7, 64, 30, 256, 2, 100)])
def test_every_answer_is_its_requests_own(client, model, sizes):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: ask(client, model, 17 * number, sizes[number % len(sizes)]), range(200)))


@pytest.mark.parametrize("size", [1, 6, 64, 200])
def test_a_tensor_in_gpu_memory_is_used_where_it_lies(client, size):
    shared = pytest.importorskip("tritonclient.utils.cuda_shared_memory", exc_type=ImportError)
    batch = IMAGES[:size]
    region = shared.create_shared_memory_region("images", batch.nbytes, 0)
    try:
        shared.set_shared_memory_region(region, [batch])
        client.register_cuda_shared_memory("images", shared.get_raw_handle(region), 0, batch.nbytes)
        given = grpcclient.InferInput("images", batch.shape, "UINT8")
        given.set_shared_memory("images", batch.nbytes)
        for _ in range(3):
            found = client.infer("on_device", [given]).as_numpy("logits")
            np.testing.assert_allclose(found, answers(batch), rtol=1e-2, atol=0.5)
    finally:
        client.unregister_cuda_shared_memory("images")
        shared.destroy_shared_memory_region(region)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("wrong", "computes something else than the network"),
        ("exchanged", "reference of another model"),
        ("of_tensorrt", "built by TensorRT, but TensorRT for RTX .* serves it"),
    ],
)
def test_a_plan_that_is_not_what_it_should_be_is_refused_and_the_others_are_served(client, model, said):
    with pytest.raises(InferenceServerException, match=said):
        client.load_model(model)
    for other in ("present", "proved"):
        assert client.is_model_ready(other)
    ask(client, "proved", 3, 64)


def test_the_second_start_finds_the_kernels_of_the_first(repository, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    said = []
    for _ in range(2):
        done = run_server(f"--repository={repository}", "--load=proved", "--verbose", "--", "true")
        assert done.returncode == 0, done.stderr
        said.append(re.search(r"its kernels [^\"]*", done.stderr)[0])
        assert "proved: " in done.stderr
    assert "were compiled" in said[0]
    assert "came from" in said[1]
