"""The models this project serves: one network, several engines and precisions."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from builder.errors import BuilderError


class Engine(str, enum.Enum):
    """What executes the network inside Triton; the value is config.pbtxt's `platform`, or `backend` where it is none.

    TENSORRT_RTX is TensorRT for RTX: a TensorRT of its own for GeForce and RTX PRO GPUs, whose engines no TensorRT
    loads. Triton knows no platform of that name; the backend is this project's.
    """

    ONNX_RUNTIME = "onnxruntime_onnx"
    TENSORRT = "tensorrt_plan"
    TENSORRT_RTX = "tensorrt_rtx"

    @property
    def model_file(self) -> str:
        """The file name that Triton's backend looks for in a version directory."""
        return "model.onnx" if self is Engine.ONNX_RUNTIME else "model.plan"

    @property
    def is_platform(self) -> bool:
        """Whether config.pbtxt names it as `platform`, or else as `backend`."""
        return self is not Engine.TENSORRT_RTX

    @property
    def in_container(self) -> bool:
        """Whether NVIDIA's container holds a backend for it.

        A model without one ends a container that loads the whole repository. So what is false here is published into a
        repository beside the other one, which the container never sees.
        """
        return self is not Engine.TENSORRT_RTX


class Precision(str, enum.Enum):
    """How the network computes inside; FP32 and TF32 are the same file.

    INT8 and FP8 are quantised: weights and activations of the convolutions are 8-bit numbers with a scale, which a
    calibration gives (builder/quantization/).

    TF32 is how engines run FP32 on NVIDIA's GPUs by default: on tensor cores, which keep ten of the 23 bits of what
    they multiply, as FP16 does. FP32 means without it.
    """

    FP32 = "fp32"
    TF32 = "tf32"
    FP16 = "fp16"
    INT8 = "int8"
    FP8 = "fp8"

    @property
    def quantized(self) -> bool:
        """Whether it needs a calibration."""
        return self in (Precision.INT8, Precision.FP8)


@dataclass(frozen=True)
class Variant:
    """One model of the repository.

    Attributes:
        name: the model's name in Triton.
        engine: what executes it.
        precision: inside; input and output stay as signed.
    """

    name: str
    engine: Engine
    precision: Precision


VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("resnet18_onnx", Engine.ONNX_RUNTIME, Precision.FP32),
        Variant("resnet18_onnx_tf32", Engine.ONNX_RUNTIME, Precision.TF32),
        Variant("resnet18_onnx_fp16", Engine.ONNX_RUNTIME, Precision.FP16),
        Variant("resnet18_onnx_int8", Engine.ONNX_RUNTIME, Precision.INT8),
        Variant("resnet18_tensorrt", Engine.TENSORRT, Precision.FP16),
        Variant("resnet18_tensorrt_tf32", Engine.TENSORRT, Precision.TF32),
        Variant("resnet18_tensorrt_fp32", Engine.TENSORRT, Precision.FP32),
        Variant("resnet18_tensorrt_int8", Engine.TENSORRT, Precision.INT8),
        Variant("resnet18_tensorrt_fp8", Engine.TENSORRT, Precision.FP8),
        Variant("resnet18_tensorrt_rtx", Engine.TENSORRT_RTX, Precision.FP16),
        Variant("resnet18_tensorrt_rtx_int8", Engine.TENSORRT_RTX, Precision.INT8),
        Variant("resnet18_tensorrt_rtx_fp8", Engine.TENSORRT_RTX, Precision.FP8),
    )
}


def variants_named(names: str) -> tuple[Variant, ...]:
    """Look up a comma-separated list of model names, in the order given, each once.

    Raises:
        BuilderError: a name is unknown or the list is empty.
    """
    wanted = list(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    unknown = [name for name in wanted if name not in VARIANTS]
    if unknown or not wanted:
        raise BuilderError(
            f"unknown model: {', '.join(unknown)}" if unknown else "no model named",
            f"choose from: {', '.join(VARIANTS)}",
        )
    return tuple(VARIANTS[name] for name in wanted)
