"""Tiny TensorRT plans, built by whatever TensorRT is installed beside the embedded server; that needs no GPU."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from server.triton.backend_folders import BACKENDS
from tests.support.models import save
from tests.support.triton import SERVER_PYTHON, require_server

WEIGHTS = np.random.default_rng(0).normal(size=(3, 10)).astype(np.float32)

_BUILD = """
import json, sys
job = json.loads(sys.argv[1])
trt = __import__(job["module"])
logger = trt.Logger(trt.Logger.ERROR)
for path, (onnx, profiles) in job["plans"].items():
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    assert trt.OnnxParser(network, logger).parse(open(onnx, "rb").read())
    config = builder.create_builder_config()
    for sizes in profiles:
        profile = builder.create_optimization_profile()
        profile.set_shape("images", *[(size, 32, 32, 3) for size in sizes])
        config.add_optimization_profile(profile)
    open(path, "wb").write(bytes(builder.build_serialized_network(network, config)))
"""


def answers(images: np.ndarray) -> np.ndarray:
    """What a tiny plan answers: each image's mean colour through a matrix, so that another's answer shows."""
    return images.reshape(len(images), -1, 3).mean(axis=1, dtype=np.float32) @ WEIGHTS


def tiny_onnx(path: Path, batch: str | int = "batch") -> Path:
    """The network, with this project's signature."""
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "weights"], ["logits"]),
    ]
    constants = {"axes": np.array([1, 2], np.int64), "weights": WEIGHTS}
    return save(
        nodes,
        [("images", TensorProto.UINT8, [batch, 32, 32, 3])],
        [("logits", TensorProto.FLOAT, [batch, 10])],
        path,
        [numpy_helper.from_array(array, key) for key, array in constants.items()],
    )


def require_library(backend: str) -> str:
    """The module by which the embedded server has a backend's library; skips, with the reason, where it has none."""
    require_server()
    modules, _ = BACKENDS[backend]
    for module in modules:
        if not subprocess.run([SERVER_PYTHON, "-c", f"import {module}"], capture_output=True, check=False).returncode:
            return module
    pytest.skip(f"none of {', '.join(modules)} is installed in the embedded server's environment")


def build_plans(directory: Path, engines: Mapping[str, Sequence[Sequence[int]]], backend: str) -> dict[str, Path]:
    """Build plans with profiles of (smallest, tuned for, largest) batch; name -> file."""
    paths, plans = {}, {}
    for name, profiles in engines.items():
        fixed = profiles[0][0] if len({size for sizes in profiles for size in sizes}) == 1 else "batch"
        paths[name] = directory / f"{name}.plan"
        plans[str(paths[name])] = str(tiny_onnx(directory / f"{name}.onnx", fixed)), profiles
    job = json.dumps({"module": require_library(backend), "plans": plans})
    subprocess.run([SERVER_PYTHON, "-c", _BUILD, job], check=True, timeout=120)
    return paths
