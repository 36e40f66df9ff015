"""The models this project serves: one network, several engines and precisions."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from builder.errors import BuilderError


class Engine(str, enum.Enum):
    """What executes the network inside Triton; the value is config.pbtxt's `platform`."""

    ONNX_RUNTIME = "onnxruntime_onnx"
    TENSORRT = "tensorrt_plan"

    @property
    def model_file(self) -> str:
        """The file name that Triton's backend looks for in a version directory."""
        return {"onnxruntime_onnx": "model.onnx", "tensorrt_plan": "model.plan"}[self.value]


class Precision(str, enum.Enum):
    """How the network computes inside; FP32 and TF32 are the same file.

    TF32 is how engines run FP32 on NVIDIA's GPUs by default: on tensor cores, which keep ten of the 23 bits of what
    they multiply, as FP16 does. FP32 means without it.
    """

    FP32 = "fp32"
    TF32 = "tf32"
    FP16 = "fp16"


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
        Variant("resnet18_tensorrt", Engine.TENSORRT, Precision.FP16),
        Variant("resnet18_tensorrt_tf32", Engine.TENSORRT, Precision.TF32),
        Variant("resnet18_tensorrt_fp32", Engine.TENSORRT, Precision.FP32),
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
