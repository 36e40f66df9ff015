"""Configurations of ONNX models, good and bad, each with what the container's C++ backend makes of it.

The outcomes are those of triton-inference-server/onnxruntime_backend, `src/onnxruntime.cc` and
`src/onnxruntime_utils.cc`: `why` names the function that decides, or Triton's core where it does before any backend.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from onnx import TensorProto

from tests.support import graphs
from tests.support.models import tensor

X = tensor("input", "x", "TYPE_FP32", [4])
Y = tensor("output", "y", "TYPE_FP32", [4])
BATCH = "max_batch_size: 8\n"
GOOD = BATCH + X + Y


@dataclass(frozen=True)
class Row:
    """One configuration.

    Attributes:
        name: the model's.
        graph: writes its file.
        config: config.pbtxt without the platform.
        refused: what the refusal must say, as a regular expression; empty where the model is served.
        why: where the C++ backend decides so.
    """

    name: str
    graph: Callable[[Path], Path]
    config: str
    refused: str = ""
    why: str = ""


def parameter(key: str, value: str) -> str:
    return f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}\n'


def accelerator(side: str, name: str, **parameters: str) -> str:
    entries = "".join(f'parameters {{ key: "{key}" value: "{value}" }} ' for key, value in parameters.items())
    return (
        f'optimization {{ execution_accelerators {{ {side}_execution_accelerator {{ name: "{name}" {entries}}} }} }}\n'
    )


def io(dtype: str, dims: list[int] | None = None) -> str:
    return BATCH + tensor("input", "x", dtype, dims or [3]) + tensor("output", "y", dtype, dims or [3])


def sequence_batching(**controls: str) -> str:
    entries = "".join(f'control_input {{ name: "{name}" control {{ {text} }} }} ' for name, text in controls.items())
    return f"sequence_batching {{ {entries}}}\n"


def start(values: str) -> str:
    return f"kind: CONTROL_SEQUENCE_START {values}"


SEQUENCE = (
    BATCH
    + sequence_batching(
        START=start("int32_false_true: [0, 1]"), CORRID="kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64"
    )
    + X
    + Y
)
STATE = 'state { input_name: "in" output_name: "out" data_type: TYPE_FP32 dims: [1] } '
ON_CPU = "instance_group { kind: KIND_CPU }\n"
UNREAD = "LoadModel: on a CPU, nobody reads what is set for a GPU; test_providers.py has the refusals"
SCALAR = tensor("input", "x", "TYPE_FP32", [1]) + tensor("output", "y", "TYPE_FP32", [1])
LENGTH = tensor("output", "y", "TYPE_FP32", [-1])
RESHAPED = (
    BATCH
    + 'input { name: "x" data_type: TYPE_FP32 dims: [2, 2] reshape { shape: [4] } }\n'
    + 'output { name: "y" data_type: TYPE_FP32 dims: [2, 2] reshape { shape: [4] } }\n'
)
A, B = tensor("input", "a", "TYPE_FP32", [4]), tensor("input", "b", "TYPE_FP32", [4])
SUM, DIFFERENCE = tensor("output", "sum", "TYPE_FP32", [4]), tensor("output", "difference", "TYPE_FP32", [4])
OPTIONAL = 'input { name: "scale" data_type: TYPE_FP32 dims: [1] optional: true }\n'

SIGNATURES = (
    Row("plain", graphs.vector, GOOD),
    Row(
        "no_batching",
        graphs.vector,
        tensor("input", "x", "TYPE_FP32", [-1, 4]) + tensor("output", "y", "TYPE_FP32", [-1, 4]),
    ),
    Row(
        "one_fixed_batch_of_a_varying_model",
        graphs.vector,
        tensor("input", "x", "TYPE_FP32", [2, 4]) + tensor("output", "y", "TYPE_FP32", [-1, 4]),
        why="CompareDimsSupported: an input need not be exact",
    ),
    Row(
        "fixed_output_of_a_varying_model",
        graphs.vector,
        tensor("input", "x", "TYPE_FP32", [2, 4]) + tensor("output", "y", "TYPE_FP32", [2, 4]),
        r"output 'y': the configuration says \[2, 4\], the model has \[-1, 4\]",
        "CompareDimsSupported: an output must be exact",
    ),
    Row("fixed_length_of_a_varying_one", graphs.any_length, BATCH + X + LENGTH, why="CompareDimsSupported"),
    Row(
        "fixed_output_length_of_a_varying_one",
        graphs.any_length,
        GOOD,
        r"output 'y': .*\[-1, 4\].*\[-1, -1\]",
        "CompareDimsSupported: an output must be exact",
    ),
    Row(
        "varying_length_of_a_fixed_one",
        graphs.vector,
        BATCH + tensor("input", "x", "TYPE_FP32", [-1]) + Y,
        r"input 'x': the configuration says \[-1, -1\], the model has \[-1, 4\]",
        "CompareDimsSupported",
    ),
    Row(
        "wrong_length",
        graphs.vector,
        BATCH + tensor("input", "x", "TYPE_FP32", [5]) + Y,
        r"input 'x': .*\[-1, 5\].*\[-1, 4\]",
        "CompareDimsSupported",
    ),
    Row(
        "wrong_output_length",
        graphs.vector,
        BATCH + X + tensor("output", "y", "TYPE_FP32", [5]),
        r"output 'y': .*\[-1, 5\].*\[-1, 4\]",
        "CompareDimsSupported",
    ),
    Row(
        "one_dimension_too_many",
        graphs.vector,
        BATCH + tensor("input", "x", "TYPE_FP32", [4, 1]) + Y,
        r"input 'x': .*\[-1, 4, 1\].*\[-1, 4\]",
        "CompareDimsSupported",
    ),
    Row(
        "batch_written_into_dims",
        graphs.vector,
        BATCH + tensor("input", "x", "TYPE_FP32", [-1, 4]) + Y,
        r"input 'x': .*\[-1, -1, 4\].*the first is the batch",
        "CompareDimsSupported",
    ),
    Row(
        "fixed_batch_model_that_batches",
        graphs.fixed_batch,
        GOOD,
        r"'x'.*max_batch_size is 8.*fixed to 1",
        "CompareDimsSupported",
    ),
    Row(
        "fixed_batch_model_alone",
        graphs.fixed_batch,
        tensor("input", "x", "TYPE_FP32", [1, 4]) + tensor("output", "y", "TYPE_FP32", [1, 4]),
    ),
    Row(
        "fixed_batch_model_said_to_vary",
        graphs.fixed_batch,
        tensor("input", "x", "TYPE_FP32", [-1, 4]) + tensor("output", "y", "TYPE_FP32", [1, 4]),
        r"input 'x': .*\[-1, 4\].*\[1, 4\]",
        "CompareDimsSupported",
    ),
    Row("reshaped", graphs.vector, RESHAPED, why="ValidateInputs: a reshape is what the model gets"),
    Row(
        "badly_reshaped",
        graphs.fixed_batch,
        'input { name: "x" data_type: TYPE_FP32 dims: [4] reshape { shape: [4, 1] } }\n'
        + tensor("output", "y", "TYPE_FP32", [1, 4]),
        r"input 'x': .*\[4, 1\].*\[1, 4\]",
        "CompareDimsSupported",
    ),
    Row("scalar", graphs.scalar, SCALAR, why="ValidateInputs: a scalar is configured as [1]"),
    Row(
        "scalar_said_to_be_a_vector",
        graphs.scalar,
        tensor("input", "x", "TYPE_FP32", [2]) + tensor("output", "y", "TYPE_FP32", [1]),
        r"input 'x': .*scalar.*\[2\]",
        "ValidateInputs",
    ),
)

NAMES = (
    Row("two_inputs_two_outputs", graphs.pair, BATCH + A + B + SUM + DIFFERENCE),
    Row("an_output_left_out", graphs.pair, BATCH + A + B + DIFFERENCE, why="ValidateOutputs looks at configured ones"),
    Row(
        "missing_input",
        graphs.pair,
        BATCH + A + SUM,
        r"names 1 input\(s\) \(a\).*needs 2: input 'b' is missing",
        "ValidateInputs",
    ),
    Row(
        "extra_input",
        graphs.vector,
        GOOD + tensor("input", "z", "TYPE_FP32", [4]),
        r"input 'z'.*the model's inputs are: x",
        "ValidateInputs",
    ),
    Row(
        "misnamed_input",
        graphs.vector,
        BATCH + tensor("input", "X", "TYPE_FP32", [4]) + Y,
        r"input 'X'.*inputs are: x",
        "CheckAllowedModelInput",
    ),
    Row(
        "misnamed_output",
        graphs.vector,
        BATCH + X + tensor("output", "Y", "TYPE_FP32", [4]),
        r"output 'Y'.*outputs are: y",
        "CheckAllowedModelOutput",
    ),
    Row("optional_constant", graphs.replaceable, X + OPTIONAL + Y, why="ValidateInputs: overridable initializers"),
    Row(
        "optional_input_in_a_batch",
        graphs.vector,
        BATCH + X.replace("}", "optional: true }") + Y,
        "input 'x' is optional.*max_batch_size 0",
        "ValidateInputs",
    ),
    Row(
        "optional_input_that_is_needed",
        graphs.fixed_batch,
        'input { name: "x" data_type: TYPE_FP32 dims: [1, 4] optional: true }\n'
        + tensor("output", "y", "TYPE_FP32", [1, 4]),
        "input 'x'.*optional: true.*needed",
        "ValidateInputs counts it as not there",
    ),
    Row(
        "constant_said_to_be_needed",
        graphs.replaceable,
        X + OPTIONAL.replace("true", "false") + Y,
        "input 'scale'.*optional: false.*constant",
        "ValidateInputs counts one input too many",
    ),
)

TYPES = (
    Row(
        "wrong_input_type",
        graphs.vector,
        BATCH + tensor("input", "x", "TYPE_FP16", [4]) + Y,
        "input 'x': the configuration says TYPE_FP16, the model has TYPE_FP32",
        "ValidateInputs",
    ),
    Row(
        "wrong_output_type",
        graphs.vector,
        BATCH + X + tensor("output", "y", "TYPE_INT64", [4]),
        "output 'y': the configuration says TYPE_INT64, the model has TYPE_FP32",
        "ValidateOutputs",
    ),
    Row("text", graphs.echo(TensorProto.STRING), io("TYPE_STRING")),
    Row(
        "text_said_to_be_bytes",
        graphs.echo(TensorProto.STRING),
        io("TYPE_UINT8"),
        "input 'x'.*TYPE_UINT8.*TYPE_STRING",
        "ValidateInputs",
    ),
    Row("booleans", graphs.echo(TensorProto.BOOL), io("TYPE_BOOL")),
    Row(
        "type_missing",
        graphs.vector,
        BATCH + 'input { name: "x" dims: [4] }\n' + Y,
        "failed to poll from model repository",
        "Triton's core",
    ),
)

PARAMETERS = (
    Row(
        "threads",
        graphs.vector,
        GOOD + parameter("intra_op_thread_count", "1") + parameter("inter_op_thread_count", "1"),
    ),
    Row(
        "threads_in_words",
        graphs.vector,
        GOOD + parameter("intra_op_thread_count", "two"),
        "intra_op_thread_count: expected a whole number, found 'two'",
        "TryParseModelStringParameter",
    ),
    Row(
        "inter_threads_in_words",
        graphs.vector,
        GOOD + parameter("inter_op_thread_count", ""),
        "inter_op_thread_count",
        "TryParseModelStringParameter",
    ),
    Row(
        "negative_threads",
        graphs.vector,
        GOOD + parameter("intra_op_thread_count", "-1"),
        why="ModelState: only more than 0 is set",
    ),
    Row("parallel", graphs.vector, GOOD + parameter("execution_mode", "1")),
    Row(
        "execution_mode_2",
        graphs.vector,
        GOOD + parameter("execution_mode", "2"),
        "execution_mode: expected one of 0 to 1, found 2",
        "ModelState",
    ),
    Row("arena_off", graphs.vector, GOOD + parameter("enable_mem_arena", "Off") + parameter("enable_mem_pattern", "0")),
    Row(
        "arena_maybe",
        graphs.vector,
        GOOD + parameter("enable_mem_arena", "maybe"),
        "enable_mem_arena: expected true.*found 'maybe'",
        "ParseBoolValue",
    ),
    Row(
        "pattern_2",
        graphs.vector,
        GOOD + parameter("enable_mem_pattern", "2"),
        "enable_mem_pattern: expected true.*found '2'",
        "ParseBoolValue",
    ),
    Row("heuristic_search", graphs.vector, GOOD + parameter("cudnn_conv_algo_search", "1")),
    Row("search_3", graphs.vector, GOOD + ON_CPU + parameter("cudnn_conv_algo_search", "3"), why=UNREAD),
    Row("arena_strategy_2", graphs.vector, GOOD + ON_CPU + parameter("arena_extend_strategy", "2"), why=UNREAD),
    Row("graph_level_off", graphs.vector, GOOD + "optimization { graph { level: 2 } }\n"),
    Row("graph_level_basic", graphs.vector, GOOD + "optimization { graph { level: -1 } }\n"),
    Row(
        "graph_level_7",
        graphs.vector,
        GOOD + "optimization { graph { level: 7 } }\n",
        why="ModelState: what is not -1, 1 or 2 means all",
    ),
    Row("unknown_parameter", graphs.vector, GOOD + parameter("colour", "blue"), why="nobody reads it"),
)

ACCELERATORS = (
    Row(
        "cuda_options",
        graphs.vector,
        GOOD + accelerator("gpu", "cuda", prefer_nhwc="1", do_copy_in_default_stream="1"),
        why="LoadModel: passed through; unread without a GPU",
    ),
    Row(
        "cuda_option_no_boolean",
        graphs.vector,
        GOOD + ON_CPU + accelerator("gpu", "cuda", do_copy_in_default_stream="5"),
        why=UNREAD,
    ),
    Row("tensorrt_on_a_cpu", graphs.vector, GOOD + ON_CPU + accelerator("gpu", "tensorrt"), why=UNREAD),
    Row("unknown_gpu_accelerator", graphs.vector, GOOD + ON_CPU + accelerator("gpu", "rocm"), why=UNREAD),
    Row(
        "unknown_cpu_accelerator",
        graphs.vector,
        GOOD + accelerator("cpu", "cuda"),
        "unknown execution accelerator 'cuda'",
        "LoadModel",
    ),
    Row(
        "gpu_without_a_gpu",
        graphs.vector,
        GOOD + "instance_group { kind: KIND_GPU }\n",
        "KIND_GPU but no GPUs are available",
        "Triton's core",
    ),
    Row(
        "automatic_kind",
        graphs.vector,
        GOOD + "instance_group { kind: KIND_AUTO }\n",
        why="Triton's core: no GPU, so the CPU",
    ),
    Row("model_kind", graphs.vector, GOOD + "instance_group { kind: KIND_MODEL }\n", why="LoadModel: no GPU provider"),
)

SEQUENCES = (
    Row("sequence", graphs.sequence, SEQUENCE, why="ValidateBooleanSequenceControl, ValidateTypedSequenceControl"),
    Row("sequence_without_controls", graphs.vector, GOOD + "sequence_batching { }\n", why="no control is required"),
    Row(
        "sequence_without_batching",
        graphs.sequence_alone,
        SEQUENCE.replace(BATCH, ""),
        why="ValidateBooleanSequenceControl: [1] without the batch",
    ),
    Row(
        "unknown_control",
        graphs.vector,
        GOOD + sequence_batching(START=start("int32_false_true: [0, 1]")),
        "sequence control 'START' is configured, but the model's inputs are: x",
        "ValidateBooleanSequenceControl",
    ),
    Row(
        "control_of_another_type",
        graphs.sequence,
        SEQUENCE.replace("int32_false_true", "fp32_false_true"),
        "sequence control 'START': the configuration says TYPE_FP32, the model has TYPE_INT32",
        "ValidateBooleanSequenceControl",
    ),
    Row(
        "correlation_of_another_type",
        graphs.sequence,
        SEQUENCE.replace("TYPE_UINT64", "TYPE_INT32"),
        "sequence control 'CORRID': the configuration says TYPE_INT32, the model has TYPE_UINT64",
        "ValidateTypedSequenceControl",
    ),
    Row(
        "control_of_another_shape",
        graphs.sequence,
        GOOD.replace(X, "")
        + tensor("input", "START", "TYPE_INT32", [1])
        + tensor("input", "CORRID", "TYPE_UINT64", [1])
        + sequence_batching(x=start("fp32_false_true: [0, 1]")),
        r"sequence control 'x': the configuration says \[-1, 1\], the model has \[-1, 4\]",
        "ValidateBooleanSequenceControl",
    ),
    Row(
        "control_left_out",
        graphs.sequence,
        GOOD + sequence_batching(START=start("int32_false_true: [0, 1]")),
        "input 'CORRID' is missing",
        "ValidateInputs",
    ),
)

FILES = (
    Row("no_file", graphs.missing, GOOD, r"there is no model.onnx in", "LoadModel"),
    Row("no_model_in_it", graphs.broken, GOOD, "model.onnx", "LoadSession"),
)

SAME = (*SIGNATURES, *NAMES, *TYPES, *PARAMETERS, *ACCELERATORS, *SEQUENCES, *FILES)
"""What both backends decide alike."""

NOT_BUILT_IN = (
    Row("openvino", graphs.vector, GOOD + accelerator("cpu", "openvino"), "'openvino'.*NVIDIA's container has it"),
    Row(
        "implicit_state",
        graphs.sequence,
        SEQUENCE.replace("}\n", STATE + "}\n", 1),
        "sequence_batching.state.*NVIDIA's container does",
    ),
    Row(
        "decoupled",
        graphs.vector,
        GOOD + "model_transaction_policy { decoupled: true }\n",
        "decoupled: true.*NVIDIA's container does",
    ),
    Row("bfloat16", graphs.echo(TensorProto.BFLOAT16), io("TYPE_BF16"), "'x'.*bfloat16.*from release 26.03 on"),
    Row(
        "ragged",
        graphs.vector,
        GOOD.replace("}", "allow_ragged_batch: true }", 1),
        "allow_ragged_batch.*NVIDIA's container does",
    ),
)
"""What the container can serve and the embedded server cannot: refused, so that nothing is answered otherwise."""
