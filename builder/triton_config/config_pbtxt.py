"""A model's configurations, built as Triton's own protobuf message and printed as text: no unknown field can happen.

One description for all places; what differs between them is `places.Settings`.
"""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from builder.errors import BuilderError
from builder.signature import SIGNATURE, BatchSizes, Signature, Tensor
from builder.triton_config.places import Place, Settings, WarmUp, places_of, settings_of
from builder.variants import Precision, Variant
from console.numbers import TRITON_FIELD_MAX, between

LABELS_FILE = "labels.txt"

# cuDNN's kernels for a convolution are searched for at every batch size that is met for the first time, and dynamic
# batching makes many. The default search (0, exhaustive) measures them all, some 0.5 s a batch; 1 is the heuristic one.
# At the top level: under the accelerator "cuda" the backend overwrites it (onnxruntime_backend, src/onnxruntime.cc).
_ONNX_RUNTIME_PARAMETERS = {"cudnn_conv_algo_search": pb.ModelParameter(string_value="1")}

# For ONNX Runtime's CUDA provider, where a server has a GPU: tensor cores want the channels last.
# `benchmarks/cuda_options.py` measures every combination.
_CUDA_OPTIONS = {
    Precision.FP32: {"use_tf32": "0"},
    Precision.TF32: {"use_tf32": "1", "prefer_nhwc": "1"},
    Precision.FP16: {"prefer_nhwc": "1"},
}


_HEADER = "# Written by `python -m builder build`; changes here are lost at the next build.\n"
_READ_BY = {
    Place.PLAIN: "# Read where no --model-config-name is given, or configs/ has none of that name.\n",
    Place.CPU: "# Read with --model-config-name=cpu: a server without a GPU.\n",
    Place.GPU_CONTAINER: "# Read with --model-config-name=gpu_container: NVIDIA's container on a GPU.\n",
    Place.GPU_EMBEDDED: "# Read with --model-config-name=gpu_embedded: this project's embedded server on a GPU.\n",
}


@dataclass(frozen=True)
class Scheduling:
    """What a user chooses about how requests meet instances.

    Attributes:
        instances: of each model, on each GPU or on the CPU, in every place; None for what each place has of its own.
            On a GPU two overlap one batch's copies with the other's computation.
        instances_at: the same for single places; it goes before `instances`.
        max_queue_size: requests that may wait; one more is refused at once. 0 for no bound. Only dynamic batching has a
            queue with a bound, so it does not apply to a place without.
        served_versions: how many of the newest versions are served side by side.
    """

    instances: int | None = None
    max_queue_size: int = 0
    instances_at: Mapping[Place, int] = field(default_factory=dict)
    served_versions: int = 1

    def instances_in(self, place: Place, settings: Settings) -> int:
        """How many instances a model has in a place."""
        return self.instances_at.get(place) or self.instances or settings.instances


def parse_instances(text: str) -> dict[str, Any]:
    """Read --instances: N, or PLACE=N[,PLACE=N...].

    Returns:
        `Scheduling`'s `instances` or `instances_at`.

    Raises:
        BuilderError: a place is unknown, or a number is none.
    """
    named = {place.value: place for place in Place if place.value}
    take = between(1, TRITON_FIELD_MAX)
    try:
        if "=" not in text:
            return {"instances": take(text)}
        pairs = [part.partition("=") for part in text.split(",")]
        return {"instances_at": {named[name.strip()]: take(number) for name, _, number in pairs}}
    except KeyError as error:
        raise BuilderError(f"--instances: there is no place {error}", f"choose from: {', '.join(named)}") from None
    except ArgumentTypeError as error:
        raise BuilderError(f"argument --instances: {error}", "N, or PLACE=N[,PLACE=N]") from None


def model_config(
    variant: Variant,
    batch_sizes: BatchSizes,
    signature: Signature = SIGNATURE,
    scheduling: Scheduling | None = None,
    place: Place = Place.PLAIN,
) -> pb.ModelConfig:
    """Describe a model to Triton, completely: the server may run with `--disable-auto-complete-config`.

    Args:
        variant: the model's name and engine.
        batch_sizes: `max_batch_size` and the warm-up's sizes.
        signature: tensors and class names.
        scheduling: the user's choices.
        place: where it is to be served.
    """
    scheduling = scheduling or Scheduling()
    settings = settings_of(variant, place)
    group = pb.ModelInstanceGroup(
        count=scheduling.instances_in(place, settings), kind=pb.ModelInstanceGroup.Kind.Value(settings.kind.value)
    )
    return pb.ModelConfig(
        name=variant.name,
        platform=variant.engine.value if variant.engine.is_platform else None,
        backend=None if variant.engine.is_platform else variant.engine.value,
        default_model_filename=variant.engine.model_file,
        max_batch_size=batch_sizes.max,
        input=[_input(signature.input)],
        output=[_output(signature.output)],
        version_policy=_newest(scheduling.served_versions),
        instance_group=[group],
        dynamic_batching=_dynamic_batching(scheduling.max_queue_size) if settings.dynamic_batching else None,
        model_warmup=[_warmup(size, signature.input) for size in _warmed(settings, batch_sizes)],
        optimization=_optimization(variant, batch_sizes, signature.input, settings),
        parameters=_ONNX_RUNTIME_PARAMETERS if settings.cuda_provider else None,
    )


def texts(
    variant: Variant, batch_sizes: BatchSizes, signature: Signature = SIGNATURE, scheduling: Scheduling | None = None
) -> dict[str, str]:
    """Every configuration of a model: its path in the model's directory -> its text."""
    return {
        place.file: to_text(model_config(variant, batch_sizes, signature, scheduling, place), place)
        for place in places_of(variant)
    }


def to_text(config: pb.ModelConfig, place: Place = Place.PLAIN) -> str:
    """Print a configuration as its file holds it."""
    return _HEADER + _READ_BY[place] + text_format.MessageToString(config)


def _newest(count: int) -> pb.ModelVersionPolicy:
    return pb.ModelVersionPolicy(latest=pb.ModelVersionPolicy.Latest(num_versions=count))


def _input(tensor: Tensor) -> pb.ModelInput:
    # The backends ignore the format; clients that trust the configuration alone (NVIDIA's image_client.py) need it.
    return pb.ModelInput(
        name=tensor.name,
        data_type=pb.DataType.Value(tensor.dtype),
        format=pb.ModelInput.FORMAT_NHWC,
        dims=tensor.dims,
    )


def _output(tensor: Tensor) -> pb.ModelOutput:
    # With a label file the classification extension answers with class names instead of bare indices.
    dtype = pb.DataType.Value(tensor.dtype)
    return pb.ModelOutput(name=tensor.name, data_type=dtype, dims=tensor.dims, label_filename=LABELS_FILE)


def _dynamic_batching(max_queue_size: int) -> pb.ModelDynamicBatching:
    """Dynamic batching without delay: requests that wait while an instance is busy run together.

    Any queue policy takes Triton's batcher off its prefetching path. On the other path a wake-up can be lost, and the
    next request then waits out the batcher's idle time of 500 ms: on Triton 2.51.0 at batch 1 that cut throughput to
    less than a third (`benchmarks/queue_policy.py` measures it). So there is one only where the user asks for it.
    """
    if not max_queue_size:
        return pb.ModelDynamicBatching()
    policy = pb.ModelQueuePolicy(timeout_action=pb.ModelQueuePolicy.REJECT, max_queue_size=max_queue_size)
    return pb.ModelDynamicBatching(default_queue_policy=policy)


def _optimization(
    variant: Variant, batch_sizes: BatchSizes, tensor: Tensor, settings: Settings
) -> pb.ModelOptimizationPolicy | None:
    policy = pb.ModelOptimizationPolicy
    # never with output_copy_stream: NVIDIA's TensorRT backend then mixes up answers (console/triton_faults.py)
    graphs = policy.Cuda(**_cuda_graphs(batch_sizes, tensor)) if settings.cuda_graphs else None
    accelerators = None
    if settings.cuda_provider:
        # never with enable_cuda_graph: NVIDIA's ONNX Runtime backend dies of it at the first replay
        cuda = policy.ExecutionAccelerators.Accelerator(name="cuda", parameters=_CUDA_OPTIONS[variant.precision])
        accelerators = policy.ExecutionAccelerators(gpu_execution_accelerator=[cuda])
    if graphs is None and accelerators is None:
        return None
    return policy(cuda=graphs, execution_accelerators=accelerators)


def _cuda_graphs(batch_sizes: BatchSizes, tensor: Tensor) -> dict[str, Any]:
    """CUDA graphs at every batch size: launching a small network's kernels one by one costs more than they do.

    Without a `graph_spec` Triton captures graphs for batch 1 and for the largest only (tensorrt_backend,
    src/instance_state.cc), and every other size runs without, in silence. For ONNX models the embedded server reads the
    same fields; the container's ONNX Runtime backend passes them over.
    """
    shape = pb.ModelOptimizationPolicy.Cuda.GraphSpec.Shape(dim=tensor.dims)
    specs = [
        pb.ModelOptimizationPolicy.Cuda.GraphSpec(batch_size=size, input={tensor.name: shape})
        for size in batch_sizes.sizes
    ]
    return {"graphs": True, "graph_spec": specs}


def _warmed(settings: Settings, batch_sizes: BatchSizes) -> tuple[int, ...]:
    """The batch sizes of the warm-up."""
    chosen = {WarmUp.SMALLEST: batch_sizes.sizes[:1], WarmUp.EVERY_SIZE: batch_sizes.sizes}
    return chosen[settings.warm_up]


def _warmup(size: int, tensor: Tensor) -> pb.ModelWarmup:
    # Random pixels: zeros let some kernels take short cuts that real images do not.
    pixels = pb.ModelWarmup.Input(data_type=pb.DataType.Value(tensor.dtype), dims=tensor.dims, random_data=True)
    return pb.ModelWarmup(name=f"batch_{size}", batch_size=size, inputs={tensor.name: pixels})
