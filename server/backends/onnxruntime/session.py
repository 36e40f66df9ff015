"""An ONNX Runtime session as a Triton configuration asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnxruntime
from configuration import model_file
from files import name_of
from parameters import session_options, wants_graphs
from precision import needs_exact_kernels
from providers import CUDA, Provider, check_providers, choose_providers, demands_gpu
from signature import check_signature

Config = Mapping[str, Any]

MODEL_FILE = "model.onnx"


def make_session(
    directory: Path, version: str, config: Config, kind: str, device: int, *, graphs: bool = True
) -> onnxruntime.InferenceSession:
    """Load a model and check that it is the one its configuration describes.

    Args:
        directory: the model's, in the repository.
        version: the name of the version's directory.
        config: the model's configuration, as Triton passes it to a Python model.
        kind: "CPU", "GPU" or "MODEL", of the instance.
        device: the GPU's number.
        graphs: capture CUDA graphs where the configuration asks for them.

    Raises:
        ValueError: a parameter has a bad value, the model and its configuration disagree, or a GPU instance cannot
            run on the GPU.
    """
    path = model_file(directory, version, config, MODEL_FILE)
    options = session_options(config, kind)
    if needs_exact_kernels(path):
        # U8 x U8 instead, slower. Only there: ONNX Runtime takes the slow way with VNNI too, a third as fast.
        options.add_session_config_entry("session.x64quantprecision", "1")
    providers = choose_providers(config, kind, device, gpu_demanded=demands_gpu(directory))
    session = None
    if providers[0][0] == CUDA and not graphs:
        providers = _with_graphs(providers, "0")
    elif providers[0][0] == CUDA and wants_graphs(config):
        session = _open_capturing(path, options, _with_graphs(providers, "1"))
    session = session or open_session(path, options, providers)
    check_signature(config, session)
    return session


def open_session(
    path: Path, options: onnxruntime.SessionOptions, providers: list[Provider]
) -> onnxruntime.InferenceSession:
    """Open a model on the first of `providers`, and on no other.

    Raises:
        ValueError: ONNX Runtime took another. What it raises itself, of the model or an option, comes as it is.
    """
    session = onnxruntime.InferenceSession(name_of(path), options, providers=providers, enable_fallback=False)
    session.disable_fallback()
    check_providers(session, providers)
    return session


def _with_graphs(providers: list[Provider], value: str) -> list[Provider]:
    name, given = providers[0]
    return [(name, {**given, "enable_cuda_graph": value}), *providers[1:]]


def _open_capturing(
    path: Path, options: onnxruntime.SessionOptions, providers: list[Provider]
) -> onnxruntime.InferenceSession | None:
    """A session that can capture CUDA graphs; None where ONNX Runtime refuses the model.

    It refuses control flow, and a model of which a part stays on the CPU.
    """
    try:
        return open_session(path, options, providers)
    except Exception:  # noqa: BLE001  whatever it is: the session without graphs is opened next, and says it again
        return None
