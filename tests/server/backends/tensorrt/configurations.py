"""Configurations of one tiny plan, good and bad, each with what NVIDIA's C++ backend makes of it.

The 105 outcomes were seen with that backend (main of August 2026) in tritonserver 2.51.0, with TensorRT for RTX 1.6.1
on an H100, which NVIDIA does not support. Each row changes what its name says in the configuration that the builder
writes for `resnet18_tensorrt`. Names beginning with `ac_` are completed by the server first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tritonclient.grpc import model_config_pb2 as pb

from builder.signature import BATCH_SIZES
from builder.triton_config import config_pbtxt
from builder.variants import VARIANTS

Config = pb.ModelConfig
Cuda = pb.ModelOptimizationPolicy.Cuda
SIZES = BATCH_SIZES.sizes

ENGINES = {
    "base": [(1, 64, 256)],
    "p2": [(1, 8, 32), (1, 64, 256)],
    "p2d": [(1, 8, 32), (33, 64, 256)],
    "min8": [(8, 64, 256)],
    "max128": [(1, 64, 128)],
    "max512": [(1, 64, 512)],
    "static64": [(64, 64, 64)],
}
"""Engine -> the batch sizes (smallest, tuned for, largest) of its profiles."""


@dataclass(frozen=True)
class Row:
    """One configuration.

    Attributes:
        name: the model's.
        change: what it changes.
        refused: what the refusal must say, as a regular expression; empty where the model is served.
        engine: one of ENGINES, or what is done to base's file: missing, empty, garbage, truncated, other_version.
        graphs: batch sizes with a CUDA graph; None where it does not matter.
        core: Triton itself decides, before or after the backend: the outcome shows on a server alone.
        differs: why this backend decides otherwise than NVIDIA's, on purpose.
    """

    name: str
    change: Callable[[Config], object]
    refused: str = ""
    engine: str = "base"
    graphs: tuple[int, ...] | None = None
    core: bool = False
    differs: str = ""

    @property
    def auto_complete(self) -> bool:
        """Whether the server completes the configuration first."""
        return self.name.startswith("ac_")

    @property
    def config(self) -> Config:
        """The changed configuration."""
        config = config_pbtxt.model_config(VARIANTS["resnet18_tensorrt"], BATCH_SIZES)
        config.name = self.name
        self.change(config)
        return config


def nothing(config: Config) -> None:
    pass


def empty(config: Config) -> None:
    name = config.name
    config.Clear()
    config.name = name


def set_input(**values) -> Callable[[Config], None]:
    return lambda config: _set(config.input[0], values)


def set_output(**values) -> Callable[[Config], None]:
    return lambda config: _set(config.output[0], values)


def set_cuda(**values) -> Callable[[Config], None]:
    return lambda config: _set(config.optimization.cuda, values)


def set_group(**values) -> Callable[[Config], None]:
    return lambda config: _set(config.instance_group[0], values)


def set_config(**values) -> Callable[[Config], None]:
    return lambda config: _set(config, values)


def _set(message, values) -> None:
    for name, value in values.items():
        if isinstance(value, (list, tuple)):
            del getattr(message, name)[:]
            getattr(message, name).extend(value)
        else:
            setattr(message, name, value)


def both(*changes) -> Callable[[Config], None]:
    def change(config: Config) -> None:
        for each in changes:
            each(config)

    return change


def parameters(**values: str) -> Callable[[Config], None]:
    def change(config: Config) -> None:
        for name, value in values.items():
            config.parameters[name].string_value = value

    return change


def plain(config: Config) -> None:
    """Without CUDA graphs."""
    config.ClearField("optimization")


def not_dynamic(config: Config) -> None:
    config.ClearField("dynamic_batching")


def no_warmup(config: Config) -> None:
    del config.model_warmup[:]


def up_to(largest: int) -> Callable[[Config], None]:
    """Every batch size up to `largest`, which becomes the maximum."""

    def change(config: Config) -> None:
        config.max_batch_size = largest
        sizes = [size for size in SIZES if size <= largest]
        warmups = [warmup for warmup in config.model_warmup if warmup.batch_size in sizes]
        specs = [spec for spec in config.optimization.cuda.graph_spec if spec.batch_size in sizes]
        for field, kept in ((config.model_warmup, warmups), (config.optimization.cuda.graph_spec, specs)):
            copies = [type(each).FromString(each.SerializeToString()) for each in kept]
            del field[:]
            field.extend(copies)

    return change


def only_specs(*specs: Cuda.GraphSpec) -> Callable[[Config], None]:
    return set_cuda(graph_spec=specs)


def spec(size: int, dims=(32, 32, 3), name: str = "images") -> Cuda.GraphSpec:
    return Cuda.GraphSpec(batch_size=size, input={name: shape(dims)} if dims else {})


def shape(dims) -> Cuda.GraphSpec.Shape:
    return Cuda.GraphSpec.Shape(dim=dims)


def lower_bounds(**bound) -> Callable[[Config], None]:
    def change(config: Config) -> None:
        for size, lower in ((64, 33), (32, 17)):
            (found,) = (each for each in config.optimization.cuda.graph_spec if each.batch_size == size)
            found.graph_lower_bound.CopyFrom(Cuda.GraphSpec.LowerBound(batch_size=lower, **bound))

    return change


def all_specs(name: str = "images", dims=(32, 32, 3)) -> Callable[[Config], None]:
    return only_specs(*(spec(size, dims, name) for size in SIZES))


def reshape(config: Config) -> None:
    plain(config)
    no_warmup(config)
    set_input(dims=[3072])(config)
    config.input[0].reshape.shape.extend([32, 32, 3])
    config.input[0].format = pb.ModelInput.FORMAT_NONE


def prefer(*sizes: int) -> Callable[[Config], None]:
    return lambda config: config.dynamic_batching.preferred_batch_size.extend(sizes)


def kind(value) -> Callable[[Config], None]:
    return set_group(kind=value)


def warm(**values) -> Callable[[Config], None]:
    return lambda config: _set(config.model_warmup[-1], values)


def warm_input(config: Config, name: str, dtype) -> None:
    data = pb.ModelWarmup.Input(data_type=dtype, dims=[32, 32, 3], random_data=True)
    config.model_warmup[-1].inputs.clear()
    config.model_warmup[-1].inputs[name].CopyFrom(data)


def only(**values) -> Callable[[Config], None]:
    return both(empty, set_config(**values))


Group = pb.ModelInstanceGroup
NVDLA = Group.SecondaryDevice(kind=Group.SecondaryDevice.KIND_NVDLA, device_id=0)
MORE = pb.ModelInput(name="mask", data_type=pb.TYPE_UINT8, dims=[1])
PROBS = pb.ModelOutput(name="probs", data_type=pb.TYPE_FP32, dims=[10])
POLICY = pb.ModelDynamicBatching(default_queue_policy=pb.ModelQueuePolicy(max_queue_size=8))
ACCELERATOR = pb.ModelOptimizationPolicy.ExecutionAccelerators.Accelerator(name="tensorrt")
WITHOUT_BATCH = r"input 'images'.* \[32, 32, 3\].*\[-1, 32, 32, 3\]"
COVERED = "failed to run warmup sample 'batch_{}'.*dimension 0 must lie between {} and {}, found {}"

TENSORS = (
    Row("golden", set_cuda(output_copy_stream=True), graphs=SIZES, differs="answers are right, where NVIDIA's are not"),
    Row("base", nothing, graphs=SIZES),
    Row("base_plain", plain, graphs=()),
    Row("base_no_warmup", no_warmup, graphs=SIZES),
    Row("dtype_in_fp32", set_input(data_type=pb.TYPE_FP32), "input 'images'.*TYPE_FP32.*TYPE_UINT8"),
    Row("dtype_in_int8", set_input(data_type=pb.TYPE_INT8), "input 'images'.*TYPE_INT8.*TYPE_UINT8"),
    Row("dtype_in_string", set_input(data_type=pb.TYPE_STRING), "input 'images'.*TYPE_STRING"),
    Row("dtype_out_fp16", set_output(data_type=pb.TYPE_FP16), "output 'logits'.*TYPE_FP16.*TYPE_FP32"),
    Row("dims_in_3_32_32", set_input(dims=[3, 32, 32]), r"input 'images'.*\[-1, 3, 32, 32\].*\[-1, 32, 32, 3\]"),
    Row(
        "dims_in_32_32",
        set_input(dims=[32, 32], format=pb.ModelInput.FORMAT_NONE),
        r"input 'images'.*\[-1, 32, 32\].*\[-1, 32, 32, 3\]",
    ),
    Row("dims_in_wild", set_input(dims=[-1, -1, 3]), graphs=SIZES),
    Row("dims_out_11", set_output(dims=[11]), r"output 'logits'.*\[-1, 11\].*\[-1, 10\]"),
    Row("dims_out_10_1", set_output(dims=[10, 1]), r"output 'logits'.*\[-1, 10, 1\].*\[-1, 10\]"),
    Row("in_reshape", reshape, graphs=()),
    Row("name_in", set_input(name="image"), "input 'image' .*inputs are: images"),
    Row("name_out", set_output(name="logit"), "output 'logit' .*outputs are: logits"),
    Row("extra_input", lambda config: config.input.append(MORE), "configuration has 2 inputs.*engine has 1"),
    Row("extra_output", lambda config: config.output.append(PROBS), "output 'probs' .*outputs are: logits"),
    Row("no_output", lambda config: config.ClearField("output"), "output 'logits'"),
    Row("is_non_linear_in", set_input(is_non_linear_format_io=True), "input 'images'.*is_non_linear_format_io"),
    Row("ragged", set_input(allow_ragged_batch=True), r"input 'images'.*ragged.*\[32, 32, 3\].*\[-1, 32, 32, 3\]"),
    Row("format_nhwc", set_input(format=pb.ModelInput.FORMAT_NHWC), graphs=SIZES),
    Row("label_missing", set_output(label_filename="nope.txt"), "nope.txt", core=True),
)

SIZED = (
    Row("mbs_257", set_config(max_batch_size=257), graphs=SIZES),
    Row("mbs_128", up_to(128), graphs=SIZES[:-1]),
    Row("mbs_0", set_config(max_batch_size=0), WITHOUT_BATCH),
    Row("mbs_0_no_dynamic", both(set_config(max_batch_size=0), not_dynamic), WITHOUT_BATCH),
    Row("mbs_0_plain", both(set_config(max_batch_size=0), plain), WITHOUT_BATCH),
    Row("mbs_1", set_config(max_batch_size=1), "batch_size must lie between 1 and 1"),
    Row("plan_min8", nothing, COVERED.format(1, 8, 256, 1), "min8"),
    Row("plan_max128", nothing, COVERED.format(256, 1, 128, 256), "max128"),
    Row("plan_max512", nothing, engine="max512", graphs=SIZES),
    Row("plan_static64", nothing, COVERED.format(1, 64, 64, 1), "static64"),
)

GRAPHS = (
    Row("graph_over_max", only_specs(spec(512)), "batch_size must lie between 1 and 256, found 512"),
    Row("graph_batch_0", only_specs(spec(0)), "batch_size must lie between 1 and 256, found 0"),
    Row("graph_lower_bound", lower_bounds(input={"images": shape((32, 32, 3))}), graphs=SIZES),
    Row("graph_lower_bound_no_input", lower_bounds(), "graph_lower_bound gives no shape for input 'images'"),
    Row("graph_no_input", all_specs(dims=()), graphs=SIZES),
    Row("graph_wrong_input_name", all_specs(name="image"), graphs=()),
    Row("graph_wrong_dims", all_specs(dims=(3, 32, 32)), graphs=()),
    Row("graph_none_given", set_cuda(graph_spec=[]), graphs=(1, 256)),
    Row(
        "graph_none_preferred",
        both(set_cuda(graph_spec=[]), prefer(64, 128)),
        graphs=(1, 64, 128, 256),
    ),
    Row("graph_specs_but_off", set_cuda(graphs=False), graphs=()),
    Row("busy_wait", set_cuda(busy_wait_events=True), graphs=SIZES),
    Row("eager_batching", lambda config: _set(config.optimization, {"eager_batching": True}), graphs=SIZES),
    Row(
        "gather_kernel_unpinned",
        lambda config: _set(config.optimization, {"gather_kernel_buffer_threshold": 8}),
        graphs=SIZES,
    ),
    Row(
        "priority_max",
        lambda config: _set(config.optimization, {"priority": pb.ModelOptimizationPolicy.PRIORITY_MAX}),
        graphs=SIZES,
    ),
    Row(
        "accelerator_tensorrt",
        lambda config: config.optimization.execution_accelerators.gpu_execution_accelerator.append(ACCELERATOR),
        graphs=SIZES,
    ),
)


INSTANCES = (
    Row("instances_2", set_group(count=2), graphs=SIZES),
    Row("kind_cpu", kind(Group.KIND_CPU), "expected KIND_GPU .*found KIND_CPU"),
    Row("kind_auto", kind(Group.KIND_AUTO), graphs=SIZES),
    Row("kind_model", kind(Group.KIND_MODEL), "expected KIND_GPU .*found KIND_MODEL"),
    Row("no_instance_group", lambda config: config.ClearField("instance_group"), graphs=SIZES),
    Row("gpus_0", set_group(gpus=[0]), graphs=SIZES),
    Row("gpus_1", set_group(gpus=[1]), "gpu id 1", core=True),
    Row("nvdla", set_group(secondary_devices=[NVDLA]), "DLA"),
    Row("profile_0", set_group(profile=["0"]), graphs=SIZES),
    Row("profile_1_of_1", set_group(profile=["1"]), "profile 1 is configured.*0 to 0"),
    Row("profile_x", set_group(profile=["x"]), "expected a number, found 'x'|unable to parse 'x'"),
    Row("p2_default_mbs32", up_to(32), engine="p2", graphs=SIZES[:6]),
    Row("p2_profile_1", set_group(profile=["1"]), engine="p2", graphs=SIZES),
    Row("p2d_profile_0_1", set_group(profile=["0", "1"]), engine="p2d", graphs=SIZES),
    Row("p2d_profile_1", set_group(profile=["1"]), COVERED.format(1, 33, 256, 1), "p2d"),
    Row("p2_profile_2", set_group(profile=["2"]), "profile 2 is configured.*0 to 1", "p2"),
)

SCHEDULING = (
    Row("preferred", prefer(64, 128), graphs=SIZES),
    Row("no_dynamic", not_dynamic, graphs=SIZES),
    Row("queue_policy", lambda config: config.dynamic_batching.CopyFrom(POLICY), graphs=SIZES),
    Row(
        "decoupled",
        lambda config: _set(config.model_transaction_policy, {"decoupled": True}),
        "uses decoupled: true",
        differs="NVIDIA's loads it, and its HTTP endpoint then refuses every request",
    ),
    Row("response_cache", lambda config: _set(config.response_cache, {"enable": True}), graphs=SIZES),
    Row("unknown_parameter", parameters(no_such_parameter="1"), graphs=SIZES),
    Row("alloc_on_profile_change", parameters(execution_context_allocation_strategy="ON_PROFILE_CHANGE"), graphs=SIZES),
    Row("multi_device", parameters(enable_multi_device="true"), "multi_device_gpus"),
    Row("warmup_count", lambda config: _set(config.model_warmup[0], {"count": 2}), graphs=SIZES),
    Row("warmup_over_max", warm(batch_size=512), "batch_256", core=True),
    Row("warmup_dtype", lambda config: warm_input(config, "images", pb.TYPE_FP32), "images", core=True),
    Row("warmup_name", lambda config: warm_input(config, "image", pb.TYPE_UINT8), "images", core=True),
)

FILES = (
    Row("filename_other_missing", set_config(default_model_filename="other.plan"), "no other.plan", "missing"),
    Row("filename_other", set_config(default_model_filename="other.plan"), graphs=SIZES),
    Row("filename_unset", lambda config: config.ClearField("default_model_filename"), graphs=SIZES),
    Row("cc_filename_90", lambda config: config.cc_model_filenames.update({"9.0": "capable.plan"}), graphs=SIZES),
    Row("plan_missing", nothing, "no model.plan", "missing"),
    Row("plan_empty", nothing, "model.plan is empty", "empty"),
    Row("plan_garbage", nothing, "no plan that .* can run", "garbage"),
    Row("plan_truncated", nothing, "no plan that .* can run", "truncated"),
    Row("plan_other_version", nothing, "no plan that .* can run", "other_version"),
    Row("backend_only", both(set_config(platform=""), set_config(backend="tensorrt")), graphs=SIZES),
    Row("platform_and_backend", set_config(backend="tensorrt"), graphs=SIZES),
    Row("no_platform", lambda config: config.ClearField("platform"), graphs=SIZES),
)

COMPLETED = (
    Row("ac_no_config", empty, graphs=()),
    Row("ac_empty_config", empty, graphs=()),
    Row("ac_platform_only", only(platform="tensorrt_plan"), graphs=()),
    Row("ac_backend_only", only(backend="tensorrt"), graphs=()),
    Row("ac_mbs_512", only(platform="tensorrt_plan", max_batch_size=512), "max_batch_size is 512.*up to 256"),
    Row("ac_no_config_static64", empty, engine="static64", graphs=()),
    Row("ac_no_config_min8", empty, engine="min8", graphs=()),
    Row("ac_no_config_garbage", empty, "cannot be read to complete", "garbage"),
    Row(
        "ac_base",
        set_cuda(output_copy_stream=True),
        graphs=SIZES,
        differs="answers are right, where NVIDIA's are not",
    ),
    Row("ac_dtype_in", set_input(data_type=pb.TYPE_FP32), "input 'images'.*TYPE_FP32.*TYPE_UINT8"),
    Row("ac_dims_in", set_input(dims=[3, 32, 32]), r"input 'images'.*\[-1, 3, 32, 32\].*\[-1, 32, 32, 3\]"),
    Row("ac_name_in", set_input(name="image"), "input 'image' .*inputs are: images"),
    Row("ac_no_dims", set_input(dims=[]), graphs=SIZES),
    Row("ac_no_dtype", set_input(data_type=pb.TYPE_INVALID), graphs=SIZES),
    Row("ac_full_mbs_512", set_config(max_batch_size=512), "max_batch_size is 512.*up to 256"),
    Row("ac_profile_1", set_group(profile=["1"]), "profile 1 is configured.*0 to 0"),
    Row("ac_no_group", lambda config: config.ClearField("instance_group"), graphs=SIZES),
)

ROWS = (*TENSORS, *SIZED, *GRAPHS, *INSTANCES, *SCHEDULING, *FILES, *COMPLETED)
