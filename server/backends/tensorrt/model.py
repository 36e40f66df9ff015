"""TensorRT plans in the embedded Triton: a Python-based backend that takes the place of the container's C++ one.

Triton loads this file for every model whose `platform` is "tensorrt_plan" or whose `backend` is "tensorrt_rtx"; it runs
in a process of its own beside the server, with this directory on its import path.
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from batching import Array, groups, sizes, split
from configuration import file_of_this_process
from engine_facts import UncoveredError
from gpu_memory import DeviceArray
from plan_completion import complete
from plan_executor import Started
from plan_serving import describe_plan, open_plan
from reference_check import batches_of, prove

Answer = dict[str, Array]

_PIPELINED_FROM = 64 * 1024
"""Bytes of a batch's inputs from which the next batch is fetched while this one is computed. Such a batch's answers go
one by one, and later than Triton's batcher believes: too dear for a small batch, nothing beside a large one."""


class TritonPythonModel:
    """One instance of one model; Triton's interface for Python models."""

    @staticmethod
    def auto_complete_config(auto_complete_model_config: Any) -> Any:
        """Complete a configuration from the engine; Triton calls it unless told not to.

        Raises:
            TritonModelException: it cannot be completed, or contradicts the engine.
        """
        config = auto_complete_model_config.as_dict()
        try:
            complete(config, describe_plan(file_of_this_process(), config))
        except Exception as error:  # noqa: BLE001  whatever it is, Triton reports it as the reason of the refusal
            raise pb_utils.TritonModelException(str(error)) from None
        return auto_complete_model_config

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model, and answer its reference.

        Args:
            args: Triton's description of the instance.

        Raises:
            TritonModelException: the model cannot be served as configured, or computes something else.
        """
        config, name = json.loads(args["model_config"]), args["model_instance_name"]
        try:
            path, self._executor, lines, changed = open_plan(args, config)
            self._inputs = [entry["name"] for entry in config["input"]]
            self._outputs = {entry["name"]: entry for entry in config["output"]}
            self._batches = config["max_batch_size"] > 0
            lines.append(prove(path, config, self._infer, batches_of(self._executor.sizes or [1], config)))
        except Exception as error:  # noqa: BLE001  whatever it is, Triton reports it as the reason of the refusal
            raise pb_utils.TritonModelException(str(error)) from None
        if changed:
            pb_utils.Logger.log_warn(f"{args['model_name']}: {changed}")
        for line in lines:
            pb_utils.Logger.log_info(f"{name}: {line}")
        self._started: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._answering = threading.Thread(target=self._answer_in_order, daemon=True)
        self._answering.start()

    def execute(self, requests: Sequence[Any]) -> list[Any] | None:
        """Answer requests that Triton's dynamic batcher has brought together.

        Requests of equal shape (the batch dimension aside) run as one batch. Where such a batch fails, its requests
        run one by one, so that a bad one fails alone.
        """
        self._executor.gpu.use()
        responses: list[Any] = [None] * len(requests)
        inputs: dict[int, dict[str, Any]] = {}
        for number, request in enumerate(requests):
            try:
                inputs[number] = self._read(request)
            except Exception as error:  # noqa: BLE001  it becomes the answer to the request that caused it
                responses[number] = _response(error, [])
        for members in groups(inputs) if self._batches else [[number] for number in inputs]:
            parts = [inputs[number] for number in members]
            asked = [requests[number] for number in members]
            if _worth_pipelining(parts) and self._start_only(parts, asked):
                continue
            for number, answer in zip(members, self._answer(parts), strict=True):
                responses[number] = _response(answer, requests[number].requested_output_names())
        return responses if any(response is not None for response in responses) else None

    def finalize(self) -> None:
        """Answer what is on its way, then let the engine go."""
        self._started.put(None)
        self._answering.join()
        self._executor.gpu.close()
        del self._executor

    def _read(self, request: Any) -> dict[str, Any]:
        """A request's inputs: on the GPU where its client put them there and FORCE_CPU_ONLY_INPUT_TENSORS is "no"."""
        inputs = {}
        for tensor in request.inputs():
            on_host = tensor.is_cpu()
            inputs[tensor.name()] = tensor.as_numpy() if on_host else DeviceArray(tensor.to_dlpack())
        return inputs

    def _answer(self, parts: list[dict[str, Any]]) -> Sequence[Answer | Exception]:
        try:
            lengths = sizes(parts) if self._batches else []
            results = self._executor.run(parts, sum(lengths) if self._batches else None)
            return self._shaped(results, lengths)
        except UncoveredError as error:  # NVIDIA's backend refuses the batch, so that a warm-up of it ends the load
            return [error, *[ValueError("refused with its batch")] * (len(parts) - 1)]
        except Exception as error:  # noqa: BLE001  it becomes the answer to the request that caused it
            return [error] if len(parts) == 1 else [self._answer([inputs])[0] for inputs in parts]

    def _shaped(self, results: dict[str, Array], lengths: Sequence[int]) -> list[Answer]:
        """Each request's part of a batch's outputs."""
        return split(results, lengths) if self._batches else [results]

    def _infer(self, requests: list[Array]) -> list[Array]:
        answers = self._answer([{self._inputs[0]: array} for array in requests])
        if failed := [answer for answer in answers if isinstance(answer, Exception)]:
            raise failed[0]
        output = next(iter(self._outputs))
        return [answer[output] for answer in answers if isinstance(answer, dict)]

    def _start_only(self, parts: list[dict[str, Any]], requests: list[Any]) -> bool:
        """Start a batch whose answers another thread sends; False where it cannot be started."""
        try:
            lengths = sizes(parts)
            started = self._executor.start(parts, sum(lengths))
        except Exception:  # noqa: BLE001  it comes again where the requests run one by one
            return False
        names = [request.requested_output_names() for request in requests]
        senders = [request.get_response_sender() for request in requests]
        self._started.put((started, lengths, senders, names))
        return True

    def _answer_in_order(self) -> None:
        """The other thread: waits for one batch after the other and sends its answers."""
        self._executor.gpu.use()
        while (batch := self._started.get()) is not None:
            _send(*batch)


def _send(started: Started, lengths: list[int], senders: list[Any], names: list[list[str]]) -> None:
    try:
        answers: Sequence[Answer | Exception] = split(started.wait(), lengths)
    except Exception as error:  # noqa: BLE001  it becomes the answer to the requests that caused it
        answers = [error] * len(lengths)
    try:
        for sender, answer, wanted in zip(senders, answers, names, strict=True):
            try:
                sender.send(_response(answer, wanted), flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
            except Exception as error:  # noqa: BLE001  one client that is gone must not end the others' answers
                pb_utils.Logger.log_error(f"an answer could not be sent: {error}")
    finally:
        started.done()


def _worth_pipelining(parts: Sequence[dict[str, Any]]) -> bool:
    arrays = [array for inputs in parts for array in inputs.values()]
    on_host = all(isinstance(array, np.ndarray) for array in arrays)  # elsewhere Triton may take them back at once
    return on_host and (len(parts) > 1 or sum(array.nbytes for array in arrays) >= _PIPELINED_FROM)


def _response(answer: Answer | Exception, names: Sequence[str]) -> Any:
    if isinstance(answer, Exception):
        return pb_utils.InferenceResponse([], pb_utils.TritonError(str(answer)))
    return pb_utils.InferenceResponse([pb_utils.Tensor(name, answer[name]) for name in names])
