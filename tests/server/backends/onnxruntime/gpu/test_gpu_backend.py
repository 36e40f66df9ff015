"""The ONNX backend on a GPU: `pytest -m gpu`, with onnxruntime-gpu in the embedded server's environment."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import tritonclient.grpc as grpcclient
from tritonclient.utils import InferenceServerException

from tests.support import graphs
from tests.support.models import PLATFORM, add_convolution, add_model, tensor
from tests.support.triton import SERVER_PYTHON, require_server, run_server, start_server

pytestmark = [pytest.mark.gpu, pytest.mark.triton]

SHAPE = (3, 32, 32)
CUDA = 'optimization { execution_accelerators { gpu_execution_accelerator { name: "cuda" %s } } }\n'


def option(key: str, value: str) -> str:
    return f'parameters {{ key: "{key}" value: "{value}" }} '


GRAPHS = "optimization { cuda { graphs: true } }\n"
VARIANTS = {
    "plain": "",
    "nhwc": CUDA % option("prefer_nhwc", "1"),
    "graphs": GRAPHS,
    "own_graphs": CUDA % option("enable_cuda_graph", "1"),
    "heuristic": 'parameters { key: "cudnn_conv_algo_search" value { string_value: "1" } }\n',
    "on_device": 'parameters { key: "FORCE_CPU_ONLY_INPUT_TENSORS" value { string_value: "no" } }\n',
}
NOT_CAPTURED = {"counting": graphs.counting, "branching": graphs.branching}
REFUSED = {"unknown_option": CUDA % option("no_such_option", "1")}


def require_gpu() -> None:
    """Skip, with the reason, where the embedded server could not use a GPU."""
    if not any(Path("/dev").glob("nvidia[0-9]*")):
        pytest.skip("this machine has no NVIDIA GPU")
    require_server()
    code = "import onnxruntime, sys; sys.exit('CUDAExecutionProvider' not in onnxruntime.get_available_providers())"
    if subprocess.run([SERVER_PYTHON, "-c", code], check=False, capture_output=True).returncode:
        pytest.skip("the embedded server's ONNX Runtime has no CUDA: install onnxruntime-gpu in .venv-server")


def memory_used() -> int:
    """Of all GPUs, in MiB."""
    command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    return sum(int(line) for line in subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


@pytest.fixture(scope="module")
def gpu(tmp_path_factory):
    """A client of a server with each variant on the GPU, the repository, and how much GPU memory that took, in MiB."""
    require_gpu()
    repository = tmp_path_factory.mktemp("gpu")
    for name, extra in {**VARIANTS, **REFUSED}.items():
        add_convolution(repository, name)
        path = repository / name / "config.pbtxt"
        path.write_text(path.read_text().replace("KIND_CPU", "KIND_GPU") + WARMUP + extra)
    for name, write in NOT_CAPTURED.items():
        text = PLATFORM + "max_batch_size: 64\n" + tensor("input", "x", "TYPE_FP32", [4])
        text += tensor("output", "y", "TYPE_FP32", [4]) + "instance_group { kind: KIND_GPU }\n" + GRAPHS
        write(add_model(repository, name, text))
    before = memory_used()
    loads = [f"--load={name}" for name in (*VARIANTS, *NOT_CAPTURED)]
    with start_server(repository, *loads) as server, grpcclient.InferenceServerClient(server.grpc) as client:
        yield client, repository, memory_used() - before


WARMUP = "".join(
    f'model_warmup {{ name: "{size}" batch_size: {size} inputs {{ key: "x" value {{ data_type: TYPE_FP32 '
    f"dims: [3, 32, 32] random_data: true }} }} }}\n"
    for size in (1, 4, 16, 64)
)


def infer(client, model: str, x: np.ndarray) -> np.ndarray:
    tensor = grpcclient.InferInput("x", x.shape, "FP32")
    tensor.set_data_from_numpy(x)
    return client.infer(model, [tensor]).as_numpy("y")


def expected(repository: Path, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(repository / "plain/1/model.onnx", providers=["CPUExecutionProvider"])
    return session.run(["y"], {"x": x})[0]


def images(size: int) -> np.ndarray:
    return np.random.default_rng(size).normal(size=(size, *SHAPE)).astype(np.float32)


def test_the_models_lie_on_the_gpu(gpu):
    assert gpu[2] > 100 * len(VARIANTS), "too little GPU memory is taken for that many CUDA contexts"


@pytest.mark.parametrize("model", VARIANTS)
@pytest.mark.parametrize("size", [1, 3, 4, 17, 64])
def test_answers_are_those_of_the_cpu(gpu, model, size):
    client, repository, _ = gpu
    for number in range(4):  # a CUDA graph is captured at an early run and replayed at later ones
        x = images(size) + number
        np.testing.assert_allclose(infer(client, model, x), expected(repository, x), rtol=2e-2, atol=2e-2)


def test_a_model_that_graphs_can_hold_keeps_them(gpu):
    done = run_server(f"--repository={gpu[1]}", "--load=graphs", "--verbose", "--", "true")
    assert done.returncode == 0, done.stderr
    assert "graphs" in done.stderr
    assert "goes on without" not in done.stderr


@pytest.mark.parametrize("model", NOT_CAPTURED)
def test_models_that_no_graph_can_hold_are_served_without(gpu, model):
    client, repository, _ = gpu
    session = onnxruntime.InferenceSession(repository / model / "1/model.onnx", providers=["CPUExecutionProvider"])
    for size in (1, 64, 3, 64, 64, 64):
        x = np.random.default_rng(size).integers(-1, 3, (size, 4)).astype(np.float32)
        np.testing.assert_array_equal(infer(client, model, x), session.run(["y"], {"x": x})[0])


@pytest.mark.parametrize("model", ["plain", "graphs"])
def test_many_clients_each_get_their_own_answers(gpu, model):
    client, repository, _ = gpu
    arrays = [images(1 + number % 7) + number for number in range(100)]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda x: infer(client, model, x), arrays))
    for x, answer in zip(arrays, answers, strict=True):
        np.testing.assert_allclose(answer, expected(repository, x), rtol=2e-2, atol=2e-2)


def test_a_tensor_in_gpu_memory_is_used_where_it_lies(gpu):
    shared = pytest.importorskip("tritonclient.utils.cuda_shared_memory", exc_type=ImportError)
    client, repository, _ = gpu
    x = images(6)
    region = shared.create_shared_memory_region("x", x.nbytes, 0)
    try:
        shared.set_shared_memory_region(region, [x])
        client.register_cuda_shared_memory("x", shared.get_raw_handle(region), 0, x.nbytes)
        tensor = grpcclient.InferInput("x", x.shape, "FP32")
        tensor.set_shared_memory("x", x.nbytes)
        answer = client.infer("on_device", [tensor]).as_numpy("y")
    finally:
        client.unregister_cuda_shared_memory("x")
        shared.destroy_shared_memory_region(region)
    np.testing.assert_allclose(answer, expected(repository, x), rtol=2e-2, atol=2e-2)


def test_an_option_that_cuda_does_not_know_is_refused(gpu):
    with pytest.raises(InferenceServerException, match="no_such_option"):
        gpu[0].load_model("unknown_option")
