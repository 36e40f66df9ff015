"""GPUs as the driver's library tells them: a driver compiled here, for the machines that the tests do not run on."""

from __future__ import annotations

import pytest

from tests.support.fake_driver import compiled, run_beside

FIND = "from console import nvidia; print(nvidia.find_gpus())"


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    return compiled(tmp_path_factory.mktemp("driver"))


def test_every_gpu_is_told_with_what_is_built_for_it(driver):
    script = "from console import nvidia; found = nvidia.find_gpus(); print(found.cuda, found.gpus, found.reason)"
    found = run_beside(driver, script, gpus="8.9,12.0", cuda=13010)
    assert found == (
        "(13, 1) (Gpu(name='Fake GPU 0', compute_capability='8.9', memory=85899345920), "
        "Gpu(name='Fake GPU 1', compute_capability='12.0', memory=85899345920))"
    )


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"init": 100}, "cuInit answers CUDA_ERROR_NO_DEVICE: no CUDA-capable device is detected"),
        ({"init": 803}, "cuInit answers error 803"),
        ({"gpus": ""}, "the NVIDIA driver finds none"),
    ],
)
def test_a_driver_that_gives_no_gpu_says_why(driver, settings, reason):
    script = "from console import nvidia; found = nvidia.find_gpus(); print(found.gpus, found.reason)"
    found = run_beside(driver, script, **settings)
    assert found.startswith("()")
    assert reason in found


def test_without_a_driver_the_library_is_named(tmp_path):
    script = (
        "from console import nvidia; nvidia._LIBRARIES = ('no-such-libcuda.so.1', '/no/such/libcuda.so.1'); "
        "print(nvidia.find_gpus().reason)"
    )
    assert "libcuda.so.1 is not found" in run_beside(tmp_path, script)


def test_a_driver_without_a_function_is_too_old_and_no_crash(driver):
    script = (
        "from console import nvidia\n"
        "try: nvidia.Driver().call('cuOfTheFuture', 0)\n"
        "except nvidia.DriverError as error: print(error)"
    )
    assert run_beside(driver, script) == "cuOfTheFuture answers nothing: this driver is too old to have it"


@pytest.mark.parametrize(
    ("gpus", "version"), [("8.9", "1.7.1.116"), ("9.0", "1.6.1.120"), ("12.0,9.0", "1.7.1.116"), ("", "1.7.1.116")]
)
def test_the_version_of_tensorrt_for_rtx_follows_the_first_gpu(driver, gpus, version):
    script = "import runpy; runpy.run_module('console.tensorrt_rtx', run_name='__main__')"
    assert run_beside(driver, script, gpus=gpus) == (
        f"tensorrt-rtx-cu13-libs=={version} tensorrt-rtx-cu13-bindings=={version}"
    )


def test_the_launcher_asks_the_driver_too(driver):
    script = "from server.selection.places import has_gpu; print(has_gpu())"
    assert run_beside(driver, script) == "True"
    assert run_beside(driver, script, init=100) == "False"
