"""config.pbtxt, built as Triton's own protobuf message and printed as text: an unknown field cannot happen."""

from __future__ import annotations

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from builder.signature import SIGNATURE, BatchPlan, Signature, Tensor
from builder.variants import Engine, Variant

LABELS_FILE = "labels.txt"

MAX_QUEUE_DELAY_US = 100
"""How long a request waits for company, in microseconds: little beside the milliseconds of a batch, enough for
requests that arrive together."""

MAX_QUEUE_SIZE = 1024
"""Requests that may wait. One more is refused at once, instead of joining a queue that can only grow while its
clients time out; four full batches of single images, so ordinary bursts pass."""

_HEADER = "# Written by `python -m builder build`; changes here are lost at the next build.\n"


def model_config(variant: Variant, batch_plan: BatchPlan, signature: Signature = SIGNATURE) -> pb.ModelConfig:
    """Describe a model to Triton, completely: the server may run with `--disable-auto-complete-config`.

    Args:
        variant: the model's name and engine.
        batch_plan: `max_batch_size` and the warm-up's sizes.
        signature: tensors and class names.
    """
    return pb.ModelConfig(
        name=variant.name,
        platform=variant.engine.value,
        default_model_filename=variant.engine.model_file,
        max_batch_size=batch_plan.max,
        input=[_input(signature.input)],
        output=[_output(signature.output)],
        version_policy=pb.ModelVersionPolicy(latest=pb.ModelVersionPolicy.Latest(num_versions=1)),
        instance_group=[_instance_group(variant.engine)],
        dynamic_batching=_dynamic_batching(),
        model_warmup=[_warmup(size, signature.input) for size in batch_plan.sizes],
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


def _instance_group(engine: Engine) -> pb.ModelInstanceGroup:
    # KIND_AUTO takes the GPUs a server has, else the CPU: the same ONNX configuration serves both.
    kinds = {Engine.ONNX_RUNTIME: pb.ModelInstanceGroup.KIND_AUTO, Engine.TENSORRT: pb.ModelInstanceGroup.KIND_GPU}
    return pb.ModelInstanceGroup(count=1, kind=kinds[engine])


def _dynamic_batching() -> pb.ModelDynamicBatching:
    policy = pb.ModelQueuePolicy(
        timeout_action=pb.ModelQueuePolicy.REJECT,
        max_queue_size=MAX_QUEUE_SIZE,
        allow_timeout_override=True,
    )
    return pb.ModelDynamicBatching(max_queue_delay_microseconds=MAX_QUEUE_DELAY_US, default_queue_policy=policy)


def _warmup(size: int, tensor: Tensor) -> pb.ModelWarmup:
    # Random pixels: zeros let some kernels take short cuts that real images do not.
    pixels = pb.ModelWarmup.Input(data_type=pb.DataType.Value(tensor.dtype), dims=tensor.dims, random_data=True)
    return pb.ModelWarmup(name=f"batch_{size}", batch_size=size, inputs={tensor.name: pixels})
