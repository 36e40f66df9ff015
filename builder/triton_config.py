"""config.pbtxt, built as Triton's own protobuf message and printed as text: an unknown field cannot happen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from builder.errors import BuilderError
from builder.signature import SIGNATURE, BatchPlan, Signature, Tensor
from builder.variants import Engine, Precision, Variant

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


@dataclass(frozen=True)
class Scheduling:
    """What a user chooses about how requests meet instances.

    Attributes:
        instances: of each model, on each GPU or on the CPU. On a GPU two overlap one batch's copies with the other's
            computation.
        max_queue_size: requests that may wait; one more is refused at once. 0 for no bound.

    Raises:
        BuilderError: one is out of range.
    """

    instances: int = 1
    max_queue_size: int = 0

    def __post_init__(self) -> None:
        if self.instances < 1:
            raise BuilderError(f"--instances must be 1 or more; found {self.instances}")
        if self.max_queue_size < 0:
            raise BuilderError(f"--max-queue-size must be 0 or more; found {self.max_queue_size}")


def model_config(
    variant: Variant, batch_plan: BatchPlan, signature: Signature = SIGNATURE, scheduling: Scheduling | None = None
) -> pb.ModelConfig:
    """Describe a model to Triton, completely: the server may run with `--disable-auto-complete-config`.

    Args:
        variant: the model's name and engine.
        batch_plan: `max_batch_size` and the warm-up's sizes.
        signature: tensors and class names.
        scheduling: the user's choices.
    """
    scheduling = scheduling or Scheduling()
    return pb.ModelConfig(
        name=variant.name,
        platform=variant.engine.value,
        default_model_filename=variant.engine.model_file,
        max_batch_size=batch_plan.max,
        input=[_input(signature.input)],
        output=[_output(signature.output)],
        version_policy=pb.ModelVersionPolicy(latest=pb.ModelVersionPolicy.Latest(num_versions=1)),
        instance_group=[_instance_group(variant.engine, scheduling.instances)],
        dynamic_batching=_dynamic_batching(scheduling.max_queue_size),
        model_warmup=[_warmup(size, signature.input) for size in batch_plan.sizes],
        optimization=_optimization(variant, batch_plan, signature.input),
        parameters=_ONNX_RUNTIME_PARAMETERS if variant.engine is Engine.ONNX_RUNTIME else None,
    )


def to_text(config: pb.ModelConfig) -> str:
    """Print a configuration as config.pbtxt holds it."""
    return _HEADER + text_format.MessageToString(config)


def parse(text: str) -> pb.ModelConfig:
    """Read a config.pbtxt.

    Raises:
        google.protobuf.text_format.ParseError: it has an unknown field or is not a text-format message.
    """
    return text_format.Parse(text, pb.ModelConfig())


def _input(tensor: Tensor) -> pb.ModelInput:
    return pb.ModelInput(name=tensor.name, data_type=pb.DataType.Value(tensor.dtype), dims=tensor.dims)


def _output(tensor: Tensor) -> pb.ModelOutput:
    # With a label file the classification extension answers with class names instead of bare indices.
    dtype = pb.DataType.Value(tensor.dtype)
    return pb.ModelOutput(name=tensor.name, data_type=dtype, dims=tensor.dims, label_filename=LABELS_FILE)


def _instance_group(engine: Engine, count: int) -> pb.ModelInstanceGroup:
    # KIND_AUTO takes the GPUs a server has, else the CPU: the same ONNX configuration serves both.
    kinds = {Engine.ONNX_RUNTIME: pb.ModelInstanceGroup.KIND_AUTO, Engine.TENSORRT: pb.ModelInstanceGroup.KIND_GPU}
    return pb.ModelInstanceGroup(count=count, kind=kinds[engine])


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


def _optimization(variant: Variant, batch_plan: BatchPlan, tensor: Tensor) -> pb.ModelOptimizationPolicy:
    graphs = _cuda_graphs(batch_plan, tensor)
    if variant.engine is Engine.TENSORRT:
        # with the copy of the outputs on a stream of its own, the next batch need not wait for it
        return pb.ModelOptimizationPolicy(cuda=pb.ModelOptimizationPolicy.Cuda(output_copy_stream=True, **graphs))
    accelerators = pb.ModelOptimizationPolicy.ExecutionAccelerators
    cuda = accelerators.Accelerator(name="cuda", parameters=_CUDA_OPTIONS[variant.precision])
    return pb.ModelOptimizationPolicy(
        cuda=pb.ModelOptimizationPolicy.Cuda(**graphs),
        execution_accelerators=accelerators(gpu_execution_accelerator=[cuda]),
    )


def _cuda_graphs(batch_plan: BatchPlan, tensor: Tensor) -> dict[str, Any]:
    """CUDA graphs at every size of the plan: launching a small network's kernels one by one costs more than they do.

    Without a `graph_spec` Triton captures graphs for batch 1 and for the largest only (tensorrt_backend,
    src/instance_state.cc), and every other size runs without, in silence. For ONNX models the embedded server reads the
    same fields, and the container's ONNX Runtime backend passes them over.
    """
    shape = pb.ModelOptimizationPolicy.Cuda.GraphSpec.Shape(dim=tensor.dims)
    specs = [
        pb.ModelOptimizationPolicy.Cuda.GraphSpec(batch_size=size, input={tensor.name: shape})
        for size in batch_plan.sizes
    ]
    return {"graphs": True, "graph_spec": specs}


def _warmup(size: int, tensor: Tensor) -> pb.ModelWarmup:
    # Random pixels: zeros let some kernels take short cuts that real images do not.
    pixels = pb.ModelWarmup.Input(data_type=pb.DataType.Value(tensor.dtype), dims=tensor.dims, random_data=True)
    return pb.ModelWarmup(name=f"batch_{size}", batch_size=size, inputs={tensor.name: pixels})
