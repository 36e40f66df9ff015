"""Running an engine for verification, over a driver compiled here: its memory is the host's, its context multiplies."""

from __future__ import annotations

import pytest

from tests.support.fake_driver import compiled, run_beside

# A context whose "kernel" runs when it is enqueued: the logits are the sums of each image's pixels and 0..9.
RUN = """
import ctypes, sys
from types import ModuleType
import numpy as np
from builder.errors import TensorRTError
from builder.signature import SIGNATURE
from builder.tensorrt.engine import Runner
from tests.support import fake_tensorrt

class Context:
    def set_input_shape(self, name, shape):
        self.shape = tuple(shape)
        return self.shape[0] <= 256
    def set_tensor_address(self, name, address):
        setattr(self, name, address)
        return True
    def execute_async_v3(self, stream):
        assert stream == 7
        count = self.shape[0]
        read = lambda kind, address, n: np.ctypeslib.as_array(ctypes.cast(address, ctypes.POINTER(kind)), (n,))
        pixels = read(ctypes.c_uint8, self.images, count * 3072).reshape(count, -1)
        read(ctypes.c_float, self.logits, count * 10).reshape(count, 10)[:] = pixels.sum(1)[:, None] + np.arange(10)
        return True

runner = Runner(fake_tensorrt.install(fake_tensorrt.Behaviour()), Context(), SIGNATURE)
images = np.random.default_rng(0).integers(0, 256, (300, 32, 32, 3), np.uint8)
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    return compiled(tmp_path_factory.mktemp("driver"))


def test_answers_belong_to_their_images_whatever_the_batch_and_memory_is_given_back(driver, tmp_path):
    script = RUN + (
        "for batch in (images[:1], images[:7], images[40:104], images[::2][:100]):\n"
        "    expected = batch.reshape(len(batch), -1).sum(1)[:, None] + np.arange(10)\n"
        "    assert np.array_equal(runner(batch), expected.astype(np.float32))\n"
        "print('right')"
    )
    assert run_beside(driver, script, log=tmp_path / "log") == "right"
    lines = (tmp_path / "log").read_text().splitlines()
    allocated = sorted(line.split()[1] for line in lines if line.startswith("alloc"))
    assert len(allocated) == 8
    assert sorted(line.split()[1] for line in lines if line.startswith("free")) == allocated
    assert lines.count("stream 0") == lines.count("destroy 7") == 4


FAILURES = {
    "out of GPU memory": ("images[:2]", {"free": 1000}, "cannot give 6144 bytes of GPU memory: cuMemAlloc_v2 answers"),
    "too many images": ("images[:257]", {}, "TensorRT refused a batch of 257 images: TensorRT gave no reason"),
}


@pytest.mark.parametrize(("batch", "settings", "said"), FAILURES.values(), ids=FAILURES)
def test_what_fails_is_one_line_and_gives_its_memory_back(driver, tmp_path, batch, settings, said):
    script = RUN + f"try: runner({batch})\nexcept TensorRTError as error: print(error, '|', error.hint)"
    printed = run_beside(driver, script, log=tmp_path / "log", **settings)
    assert said in printed
    assert ("free GPU memory" in printed) is ("free" in settings)
    lines = (tmp_path / "log").read_text() if (tmp_path / "log").exists() else ""
    assert lines.count("alloc") == lines.count("free")


def test_without_a_gpu_the_driver_s_own_words_are_the_reason(driver):
    script = (
        "from builder.errors import TensorRTError\n"
        "from builder.tensorrt.cuda import Device\n"
        "from builder.tensorrt.machine import find_gpu\n"
        "for make in (Device, find_gpu):\n"
        "    try: make()\n"
        "    except TensorRTError as error: print(error)"
    )
    first, second = run_beside(driver, script, init=100).splitlines()
    assert first.endswith("cannot use the GPU: cuInit answers CUDA_ERROR_NO_DEVICE: no CUDA-capable device is detected")
    assert second.startswith("TensorRT needs an NVIDIA GPU: the NVIDIA driver finds none (cuInit answers CUDA_ERROR")


def test_the_gpu_is_described_without_a_cuda_build_of_pytorch(driver):
    script = (
        "import sys\n"
        "from builder.tensorrt.machine import find_gpu\n"
        "print(find_gpu()); assert 'torch' not in sys.modules"
    )
    found = run_beside(driver, script, gpus="12.0", cuda=13020)
    assert found == "Gpu(name='Fake GPU 0', compute_capability='12.0', cuda='13.2')"
