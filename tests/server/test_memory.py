"""`python -m server.memory` beside a real server; the GPU's memory is that of a driver compiled here."""

from __future__ import annotations

import os
import subprocess
import urllib.request
from pathlib import Path

import pytest

from tests.support.fake_driver import compiled
from tests.support.models import add_doubler
from tests.support.triton import SERVER_PYTHON, require_server, start_server

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    return compiled(tmp_path_factory.mktemp("driver"))


@pytest.fixture
def memory(driver):
    require_server()

    def run(*arguments, **settings):
        environment = {**os.environ, "LD_LIBRARY_PATH": str(driver)}
        environment |= {f"FAKE_{name.upper()}": str(value) for name, value in settings.items()}
        command = [SERVER_PYTHON, "-m", "server.memory", *arguments]
        return subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    return run


@pytest.mark.parametrize(("free", "instances"), [(7 << 30, "1"), (79 << 30, "2")])
def test_a_small_card_gets_one_instance_of_each_model_and_a_roomy_one_two(memory, free, instances):
    done = memory("--instances", free=free)
    assert (done.returncode, done.stdout.strip()) == (0, instances), done.stderr


def test_without_a_gpu_it_is_one_line(memory):
    done = memory("--instances", init=100)
    assert done.returncode == 1
    assert done.stderr.startswith("error: no GPU can be used: the NVIDIA driver finds none (cuInit answers CUDA_ERROR")
    assert done.stdout == ""


def test_without_a_server_it_is_one_line(memory):
    done = memory("--url=http://127.0.0.1:9", "some")
    assert done.returncode == 1
    assert "error: Triton at http://127.0.0.1:9 does not answer" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.triton
def test_models_are_loaded_one_by_one_and_stay_loaded(memory, tmp_path):
    for name in ("first", "second"):
        add_doubler(tmp_path, name)
    with start_server(tmp_path, "--load=first") as server:
        url = f"--url=http://{server.http}"
        done = memory(url, "first", "second")
        assert done.returncode == 0, done.stderr
        lines = done.stderr.splitlines()
        assert lines[0] == "Fake GPU 0: 1.00 GiB free of 80.00 GiB"
        assert [line.split()[0] for line in lines[1:]] == ["first", "second"]
        assert "takes 0.00 GiB of GPU memory; 1.00 GiB are left" in lines[1]
        for name in ("first", "second"):
            with urllib.request.urlopen(f"http://{server.http}/v2/models/{name}/ready", timeout=5) as response:
                assert response.status == 200
        failed = memory(url, "first", "no such/model")
        assert failed.returncode == 1
        assert "error: Triton cannot load no such/model: " in failed.stderr
