"""ONNX models in the embedded Triton: a Python-based backend that takes the place of the container's C++ one.

Triton loads this file for every model whose `platform` is "onnxruntime_onnx"; it runs in a process of its own beside
the server, with this directory on its import path.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnxruntime
import triton_python_backend_utils as pb_utils
from batching import Array, Inputs, groups, sizes, split, to_text
from completion import complete
from configuration import configured_dims, file_of_this_process, is_complete, model_file, prepared_sizes
from execution import HostExecutor, make_executor
from files import name_of, path_of
from gpu_memory import DeviceArray
from parameters import session_options
from precision import is_quantised
from provenance_check import check_published
from providers import CPU
from reference_check import batches_of, batches_on_cpu, prove
from sequences import controls
from session import MODEL_FILE, make_session
from signature import dims_of

Answer = dict[str, Array]


class TritonPythonModel:
    """One instance of one model; Triton's interface for Python models."""

    @staticmethod
    def auto_complete_config(auto_complete_model_config: Any) -> Any:
        """Complete a configuration that names no inputs or no outputs; Triton calls it unless told not to.

        Raises:
            TritonModelException: it cannot be completed.
        """
        config = auto_complete_model_config.as_dict()
        if is_complete(config):
            return auto_complete_model_config
        try:
            path = file_of_this_process()
            check_published(path)
            complete(
                config, onnxruntime.InferenceSession(name_of(path), session_options(config, "CPU"), providers=[CPU])
            )
        except Exception as error:  # noqa: BLE001  whatever it is, Triton reports it as the reason of the refusal
            raise pb_utils.TritonModelException(str(error)) from None
        return auto_complete_model_config

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model.

        Args:
            args: Triton's description of the instance.

        Raises:
            TritonModelException: the model cannot be served as configured.
        """
        config = json.loads(args["model_config"])
        kind, device = args["model_instance_kind"], int(args["model_instance_device_id"])
        directory = path_of(args["model_repository"])
        model = directory, args["model_version"], config, kind, device

        def without_graphs() -> onnxruntime.InferenceSession:
            pb_utils.Logger.log_warn(f"{args['model_name']}: CUDA graphs cannot hold this model; it goes on without")
            return make_session(*model, graphs=False)

        try:
            path = model_file(*model[:3], MODEL_FILE)
            changed = check_published(path, directory / args["model_version"])
            session = make_session(*model)
            self._executor = make_executor(session, config, device, without_graphs)
        except Exception as error:  # noqa: BLE001  whatever it is, Triton reports it as the reason of the refusal
            where_it_lies = str(error).replace(name_of(directory), name_of(directory.resolve()))
            raise pb_utils.TritonModelException(where_it_lies) from None
        if changed:
            pb_utils.Logger.log_warn(f"{args['model_name']}: {changed}")
        if kind == "GPU" and session.get_providers()[0] == CPU:
            pb_utils.Logger.log_warn(
                f"{args['model_name']}: there is a GPU, but this ONNX Runtime has no CUDA; KIND_AUTO takes the CPU"
            )
        tensors = {tensor.name: tensor for tensor in (*session.get_inputs(), *session.get_overridable_initializers())}
        self._inputs = [tensors[entry["name"]] for entry in (*config["input"], *controls(config))]
        self._scalars = {
            entry["name"]: configured_dims(entry)
            for entry in config["output"]
            if not dims_of(next(tensor for tensor in session.get_outputs() if tensor.name == entry["name"]))
        }
        scalar_inputs = any(not dims_of(tensor) for tensor in self._inputs)
        self._batches = config["max_batch_size"] > 0 and not self._scalars and not scalar_inputs
        self._prove(path, config, args["model_instance_name"])

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer requests that Triton's dynamic batcher has brought together.

        Requests of equal shape (the batch dimension aside) run as one batch. Where such a batch fails, its requests
        run one by one, so that a bad one fails alone.
        """
        answers: dict[int, Answer | Exception] = {}
        inputs: dict[int, Inputs] = {}
        for number, request in enumerate(requests):
            try:
                inputs[number] = self._read(request)
            except Exception as error:  # noqa: BLE001  it becomes the answer to the request that caused it
                answers[number] = error
        wanted = [request.requested_output_names() for request in requests]
        for members in groups(inputs) if self._batches else [[number] for number in inputs]:
            names = list(dict.fromkeys(name for number in members for name in wanted[number]))
            found = self._answer([inputs[number] for number in members], names)
            answers.update(zip(members, found, strict=True))
        return [_response(answers[number], names) for number, names in enumerate(wanted)]

    def _prove(self, path: Path, config: dict[str, Any], instance: str) -> None:
        """Hold the model against its reference, if it has one.

        Raises:
            TritonModelException: it computes something else than the network.
        """
        name, output = config["input"][0]["name"], config["output"][0]["name"]
        on_host = isinstance(self._executor, HostExecutor)
        batches = batches_on_cpu(config) if on_host else batches_of(prepared_sizes(config), config)

        def infer(requests: list[Array]) -> list[Array]:
            answers = self._answer([{name: array} for array in requests], [output])
            if failed := [answer for answer in answers if isinstance(answer, Exception)]:
                raise failed[0]
            return [answer[output] for answer in answers if isinstance(answer, dict)]

        try:
            found = prove(path, config, infer, batches, always=is_quantised(path))
        except Exception as error:  # noqa: BLE001  whatever it is, Triton reports it as the reason of the refusal
            raise pb_utils.TritonModelException(str(error)) from None
        pb_utils.Logger.log_info(f"{instance}: {found}")

    def finalize(self) -> None:
        """Let the session go."""
        del self._executor

    def _read(self, request: Any) -> Inputs:
        """A request's inputs: on the GPU where its client put them there and FORCE_CPU_ONLY_INPUT_TENSORS is "no"."""
        given = {tensor.name(): tensor for tensor in request.inputs()}
        inputs = {}
        for tensor in self._inputs:
            if tensor.name not in given:
                continue  # optional: the model has a value of its own
            if not given[tensor.name].is_cpu() and not isinstance(self._executor, HostExecutor):
                inputs[tensor.name] = DeviceArray(given[tensor.name].to_dlpack())
                continue
            array = given[tensor.name].as_numpy()
            if array.dtype == object:
                array = to_text(array)
            inputs[tensor.name] = array if dims_of(tensor) else array.reshape(())
        return inputs

    def _answer(self, parts: list[Inputs], names: list[str]) -> Sequence[Answer | Exception]:
        try:
            lengths = sizes(parts) if self._batches else [1]
            results = self._executor.run(names, parts)
            for name in self._scalars.keys() & results.keys():
                results[name] = results[name].reshape(self._scalars[name])
            return split(results, lengths) if self._batches else [results]
        except Exception as error:  # noqa: BLE001  it becomes the answer to the request that caused it
            return [error] if len(parts) == 1 else [self._answer([inputs], names)[0] for inputs in parts]


def _response(answer: Answer | Exception, names: Sequence[str]) -> Any:
    if isinstance(answer, Exception):
        return pb_utils.InferenceResponse([], pb_utils.TritonError(str(answer)))
    return pb_utils.InferenceResponse([pb_utils.Tensor(name, answer[name]) for name in names])
