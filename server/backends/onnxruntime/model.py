"""ONNX models in the embedded Triton: a Python-based backend that takes the place of the container's C++ one.

Triton loads this file for every model whose `platform` is "onnxruntime_onnx"; it runs in a process of its own beside
the server, with this directory on its import path.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from session import make_session

Shapes = tuple[tuple[int, ...], ...]


class TritonPythonModel:
    """One instance of one model; Triton's interface for Python models."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model.

        Args:
            args: Triton's description of the instance.

        Raises:
            TritonModelException: the model cannot be served as configured.
        """
        config = json.loads(args["model_config"])
        self._batches = config["max_batch_size"] > 0
        self._inputs = [entry["name"] for entry in config["input"]]
        self._outputs = [entry["name"] for entry in config["output"]]
        file = config["default_model_filename"] or "model.onnx"
        path = Path(args["model_repository"]) / args["model_version"] / file
        kind, device = args["model_instance_kind"], int(args["model_instance_device_id"])
        try:
            self._session = make_session(path, config, kind, device)
        except Exception as error:  # noqa: BLE001  whatever it is, Triton reports it as the reason of the refusal
            raise pb_utils.TritonModelException(str(error)) from None

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer requests that Triton's dynamic batcher has brought together.

        Requests of equal shape (the batch dimension aside) run as one batch. Where such a batch fails, its requests
        run one by one, so that a bad one fails alone.
        """
        answers: list[Any] = [None] * len(requests)
        tensors = [self._tensors(request) for request in requests]
        groups: dict[Shapes, list[int]] = defaultdict(list)
        for index, arrays in enumerate(tensors):
            groups[self._shapes(arrays, index)].append(index)
        for members in groups.values():
            for index, answer in zip(members, self._answer([tensors[index] for index in members]), strict=True):
                answers[index] = _response(answer, requests[index].requested_output_names())
        return answers

    def finalize(self) -> None:
        """Let the session go."""
        del self._session

    def _tensors(self, request: Any) -> dict[str, np.ndarray[Any, Any]]:
        found = ((name, pb_utils.get_input_tensor_by_name(request, name)) for name in self._inputs)
        return {name: tensor.as_numpy() for name, tensor in found if tensor is not None}

    def _shapes(self, arrays: dict[str, np.ndarray[Any, Any]], index: int) -> Shapes:
        """What two requests must share to run in one batch; without batching, nothing is shared."""
        shapes = tuple(array.shape[1:] if self._batches else array.shape for array in arrays.values())
        return shapes if self._batches else ((index,), *shapes)

    def _answer(self, group: list[dict[str, np.ndarray[Any, Any]]]) -> list[dict[str, Any] | Exception]:
        try:
            if len(group) == 1:
                return [dict(zip(self._outputs, self._session.run(self._outputs, group[0]), strict=True))]
            batch = {name: np.concatenate([arrays[name] for arrays in group]) for name in group[0]}
            results = self._session.run(self._outputs, batch)
        except Exception as error:  # noqa: BLE001  it becomes the answer to the request that caused it
            return [error] if len(group) == 1 else [self._answer([arrays])[0] for arrays in group]
        ends = np.cumsum([len(next(iter(arrays.values()))) for arrays in group])[:-1]
        parts = zip(*(np.split(result, ends) for result in results), strict=True)
        return [dict(zip(self._outputs, part, strict=True)) for part in parts]


def _response(answer: dict[str, Any] | Exception, requested: Sequence[str]) -> Any:
    if isinstance(answer, Exception):
        return pb_utils.InferenceResponse([], pb_utils.TritonError(str(answer)))
    return pb_utils.InferenceResponse([pb_utils.Tensor(name, answer[name]) for name in requested])
