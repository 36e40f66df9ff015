"""A Python model for Triton that computes the right logits and then gives them to the wrong request, or spoils them.

Its network is an ONNX file beside it, or a fixed projection of the image. `parameters { key: "fault" … }` names the
fault; each is one that a real server has had or could have: buffers used in turn, batches split at the wrong row,
padding that leaks.
"""

import json
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils

HISTORY = 4  # executions whose output buffers are kept


class TritonPythonModel:
    def initialize(self, args):
        config = json.loads(args["model_config"])
        self.fault = config["parameters"]["fault"]["string_value"]
        network = Path(args["model_repository"]) / args["model_version"] / "network.onnx"
        self.network = onnx_network(network) if network.exists() else projection
        self.buffers = [np.zeros((config["max_batch_size"], 10), np.float32) for _ in range(HISTORY)]
        self.executions = self.requests = 0
        self.seen = []

    def execute(self, requests):
        images = [pb_utils.get_input_tensor_by_name(request, "images").as_numpy() for request in requests]
        logits = self.network(np.concatenate(images))
        self.executions += 1
        self.requests += len(requests)
        self.buffers = [self.buffers[-1], *self.buffers[:-1]]  # [0]: this execution's; [1]: that of the one before
        self.buffers[0][: len(logits)] = logits
        given = getattr(self, self.fault)(logits.copy(), [len(part) for part in images])
        ends = np.cumsum([len(part) for part in images])[:-1]
        return [answer(part) for part in np.split(given, ends)]

    def none(self, logits, sizes):
        return logits

    def late(self, logits, steps):
        return self.buffers[steps][: len(logits)].copy()

    # the six of the bar
    def every_second(self, logits, sizes):
        return self.late(logits, 1) if self.executions % 2 else logits

    def one_size(self, logits, sizes):
        return self.late(logits, 1) if len(logits) == 32 else logits

    def concurrency(self, logits, sizes):
        return np.roll(logits, sizes[0], axis=0) if len(sizes) > 1 else logits

    def one_before(self, logits, sizes):
        return self.late(logits, 1)

    def two_before(self, logits, sizes):
        return self.late(logits, 2)

    def rows(self, logits, sizes):
        return np.concatenate([part[::-1] for part in np.split(logits, np.cumsum(sizes)[:-1])])

    # and more
    def every_second_two_before(self, logits, sizes):
        """As the official TensorRT backend with CUDA graphs and an output copy stream, on an H100."""
        return self.late(logits, 2) if self.executions % 2 else logits

    def one_odd_size(self, logits, sizes):
        return self.late(logits, 1) if len(logits) == 33 else logits

    def same_class(self, logits, sizes):
        """Top-1 is right, and the values are another image's of that class, where one has been seen."""
        for row in range(len(logits)):
            own = logits[row].copy()
            others = [seen for seen in self.seen if seen.argmax() == own.argmax() and not np.allclose(seen, own)]
            if others:
                logits[row] = others[-1]
            self.seen = [*self.seen[-100:], own]
        return logits

    def nan(self, logits, sizes):
        if self.executions % 10 == 0:
            logits[-1, 3] = np.nan
        return logits

    def constant(self, logits, sizes):
        return np.broadcast_to(np.arange(10, dtype=np.float32), logits.shape).copy()

    def first_for_ever(self, logits, sizes):
        """An output buffer that is written once and read for ever."""
        if self.executions == 1:
            self.stale = np.resize(logits, (len(self.buffers[0]), 10))
        return self.stale[: len(logits)].copy()

    def boundary(self, logits, sizes):
        """From batch 3 on the last row is that of the execution before: a copy that is one row short."""
        if len(logits) > 2:
            logits[-1] = self.buffers[1][len(logits) - 1]
        return logits

    def shifted(self, logits, sizes):
        """Every request of a batch begins one row late."""
        return np.roll(logits, -1, axis=0) if len(logits) > 1 else logits

    def padding(self, logits, sizes):
        """Where a batch is padded to an even size, the padding's row comes instead of the last one."""
        if len(logits) % 2:
            logits[-1] = self.network(np.zeros((1, 32, 32, 3), np.uint8))[0]
        return logits

    def scaled(self, logits, sizes):
        return logits * np.float32(1.1)

    def one_value(self, logits, sizes):
        """A single logit is off, in one request of twenty."""
        if self.executions % 20 == 0:
            logits[0, 7] += np.abs(logits).max()
        return logits

    def rare(self, logits, sizes):
        return self.late(logits, 1) if self.executions % 50 == 0 else logits

    def later(self, logits, sizes):
        """Right for a while."""
        return self.late(logits, 1) if self.executions > 100 else logits

    # not faults
    def half(self, logits, sizes):
        """Rounding of FP16, another one each time."""
        noise = np.random.default_rng(self.executions).uniform(-2e-3, 2e-3, logits.shape)
        return (logits + noise * np.abs(logits).max()).astype(np.float32)

    def quantised(self, logits, sizes):
        """A coarse model: the same answer to the same image, far from the reference."""
        step = np.float32(0.5)
        return np.round(logits / step) * step


def answer(logits):
    return pb_utils.InferenceResponse([pb_utils.Tensor("logits", np.ascontiguousarray(logits))])


def projection(images):
    """The colours of a 4 x 4 grid through a fixed random matrix."""
    cells = images.reshape(-1, 4, 8, 4, 8, 3).mean(axis=(2, 4), dtype=np.float32).reshape(-1, 48) / 255 - 0.5
    weights = np.random.default_rng(5).normal(size=(48, 10)).astype(np.float32)
    # row by row: a product of matrices rounds otherwise for each number of rows
    return (cells[:, :, None] * weights[None]).sum(axis=1, dtype=np.float64).astype(np.float32)


def onnx_network(path):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda images: session.run(["logits"], {"images": images})[0]
