"""The table of NVIDIA's outcomes against real plans on a GPU, in the embedded Triton: `pytest -m gpu`.

Where NVIDIA's TensorRT is not installed, TensorRT for RTX may be given out as `tensorrt` by a module of that name.
"""

from __future__ import annotations

import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
from google.protobuf import text_format
from tritonclient.utils import InferenceServerException

from cifar10 import synthetic_images
from tests.server.backends.onnxruntime.gpu.test_gpu_backend import require_gpu
from tests.server.backends.tensorrt.configurations import ENGINES, ROWS, Row
from tests.support.models import add_doubler
from tests.support.plans import answers, build_plans
from tests.support.triton import start_server

pytestmark = [pytest.mark.gpu, pytest.mark.triton, pytest.mark.slow]

LONG_REASONS = [("grpc.max_metadata_size", 1 << 20)]
"""For gRPC: Triton gives a warm-up's reasons request by request."""

OTHER_VERSION = os.environ.get("PLAN_OF_ANOTHER_VERSION")
"""A plan that another version of the library built."""


@pytest.fixture(scope="module")
def plans(tmp_path_factory) -> dict[str, Path]:
    require_gpu()
    directory = tmp_path_factory.mktemp("plans")
    found = build_plans(directory, ENGINES, "tensorrt")
    content = found["base"].read_bytes()
    for name, spoiled in {"empty": b"", "garbage": b"\x35\x11\x15\xe1" * 64, "truncated": content[:-1000]}.items():
        found[name] = directory / f"{name}.plan"
        found[name].write_bytes(spoiled)
    if OTHER_VERSION:
        found["other_version"] = Path(OTHER_VERSION)
    return found


def write(repository: Path, row: Row, plans: dict[str, Path]) -> None:
    version = repository / row.name / "1"
    version.mkdir(parents=True)
    (version.parent / "labels.txt").write_text("".join(f"{number}\n" for number in range(10)))
    if row.name != "ac_no_config":
        (version.parent / "config.pbtxt").write_text(text_format.MessageToString(row.config))
    if row.engine in plans:
        names = {"filename_other": "other.plan", "cc_filename_90": "capable.plan"}
        shutil.copy(plans[row.engine], version / names.get(row.name, "model.plan"))
        if row.name == "cc_filename_90":
            (version / "model.plan").write_bytes(b"for another GPU")


def outcome(client, name: str) -> str:
    """The reason of a refusal, empty where the model is served and answers right."""
    try:
        client.load_model(name)
    except InferenceServerException as error:
        return error.message()
    try:
        wrong = wrong_answers(client, name)
    except InferenceServerException as error:
        wrong = f"it is served, but does not answer: {error.message()}"
    client.unload_model(name)
    return wrong


def wrong_answers(client, name: str) -> str:
    """What is wrong with the answers of a model that is ready; its engine's smallest batches are refused by design."""
    sizes = {"ac_no_config_static64": (64,), "ac_no_config_min8": (8, 9, 256), "mbs_128": (1, 7, 128)}
    sizes |= {"p2_default_mbs32": (1, 7, 32)}
    sizes |= {"mbs_257": (2, 4, 8, 64)}  # never 257 together: no engine here takes that, whoever serves it
    images = synthetic_images(256)

    def ask(number: int) -> str:
        size = sizes.get(name, (1, 7, 64, 2, 33, 256))[number % len(sizes.get(name, (1,) * 6))]
        batch = np.roll(images, number, axis=0)[:size]
        data = batch.reshape(size, -1) if name == "in_reshape" else batch
        tensor = grpcclient.InferInput("images", data.shape, "UINT8")
        tensor.set_data_from_numpy(np.ascontiguousarray(data))
        found = client.infer(name, [tensor]).as_numpy("logits")
        right = np.allclose(found, answers(batch), rtol=1e-2, atol=0.5)
        return "" if right else f"wrong answer at batch {size}: {np.abs(found - answers(batch)).max()}"

    with ThreadPoolExecutor(4) as pool:
        return "; ".join(filter(None, pool.map(ask, range(24))))


@pytest.fixture(scope="module")
def outcomes(plans, tmp_path_factory) -> dict[str, str]:
    found: dict[str, str] = {}
    for completed in (False, True):
        repository = tmp_path_factory.mktemp("outcomes")
        add_doubler(repository, "present")
        rows = [row for row in ROWS if row.auto_complete == completed]
        for row in rows:
            write(repository, row, plans)
        options = ["--load=present", *(["--auto-complete-config"] if completed else [])]
        with (
            start_server(repository, *options) as server,
            grpcclient.InferenceServerClient(server.grpc, channel_args=LONG_REASONS) as client,
            ThreadPoolExecutor(4) as pool,
        ):
            names = [row.name for row in rows]
            found |= dict(zip(names, pool.map(lambda name: outcome(client, name), names), strict=True))
            assert client.is_model_ready("present"), "a bad plan ended the server"
    return found


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_plan_is_served_or_refused_as_the_container_does(row: Row, outcomes):
    if row.engine == "other_version" and not OTHER_VERSION:
        pytest.skip("PLAN_OF_ANOTHER_VERSION names no plan")
    found = outcomes[row.name]
    if row.refused:
        assert found, "it is served, and should be refused"
        assert re.search(row.refused, found, re.DOTALL), f"refused, but with these words: {found}"
    else:
        assert not found
