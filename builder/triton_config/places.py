"""Where a model repository is served, and what is right for a model there.

Triton reads `MODEL/configs/NAME.pbtxt` when it is started with `--model-config-name=NAME`, and `MODEL/config.pbtxt` of
a model that has no such file (triton-inference-server/core r24.10, `GetModelConfigFullPath`); everything else, the
labels and the versions, is the same files. So one repository holds a configuration for every place, and whoever starts
a server says which place it is. docs/onnxruntime-on-a-gpu.md has the measurements behind the table.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from builder.variants import Engine, Variant

CONFIGS_FOLDER = "configs"
"""Of a model's directory: where Triton looks for the configurations with names."""


class Place(str, enum.Enum):
    """Where a server runs; the value is what it gets as `--model-config-name`."""

    PLAIN = ""
    """Anywhere: whoever starts `tritonserver` by hand and passes no name reads config.pbtxt."""
    CPU = "cpu"
    GPU_CONTAINER = "gpu_container"
    GPU_EMBEDDED = "gpu_embedded"

    @property
    def file(self) -> str:
        """The configuration's path in the model's directory."""
        return f"{CONFIGS_FOLDER}/{self.value}.pbtxt" if self.value else "config.pbtxt"


class Kind(str, enum.Enum):
    """What an instance runs on, by the names of Triton's `ModelInstanceGroup.Kind`."""

    AUTO = "KIND_AUTO"
    """The GPUs that a server has, else the CPU."""
    CPU = "KIND_CPU"
    GPU = "KIND_GPU"


class WarmUp(enum.Enum):
    """Which batch sizes run before a model is ready."""

    SMALLEST = "smallest"
    """Only a batch of one. On a CPU that is all there is to win: the first request takes 9 ms instead of 27 to 34, and
    every size would cost 2.7 s at the start and win nothing (`benchmarks/places_on_cpu.py`). Tools that lower
    `max_batch_size`, as NVIDIA's Model Analyzer does, leave such a configuration loadable."""
    EVERY_SIZE = "every size"


@dataclass(frozen=True)
class Settings:
    """What differs from place to place.

    Attributes:
        kind: of the instances.
        instances: where the user names no number; of each GPU, or on the CPU.
        dynamic_batching: whether requests that wait run together.
        warm_up: before the first request.
        cuda_graphs: ask for them in `optimization.cuda`.
        cuda_provider: tell ONNX Runtime's CUDA provider what it needs.
    """

    kind: Kind
    instances: int
    dynamic_batching: bool
    warm_up: WarmUp
    cuda_graphs: bool
    cuda_provider: bool


# NVIDIA's ONNX Runtime backend can neither pad a batch nor use CUDA graphs, and ONNX Runtime plans every convolution
# anew whenever the batch size differs from the run before (microsoft/onnxruntime 23006): some 45 ms on an H100, where
# the computation takes 0.7. Dynamic batching changes the size all the time, so it is left out where that backend may
# meet a GPU, and several instances do its work. Four of them were measured with FP16, the most images a second at
# 64 x 8 and 82 % of what eight reach at 1 x 8; FP32 and TF32 take the same number, unmeasured.
_ONNX_RUNTIME = {
    Place.PLAIN: Settings(Kind.AUTO, 1, False, WarmUp.SMALLEST, False, True),
    Place.CPU: Settings(Kind.CPU, 1, True, WarmUp.SMALLEST, False, False),
    Place.GPU_CONTAINER: Settings(Kind.GPU, 4, False, WarmUp.EVERY_SIZE, False, True),
    Place.GPU_EMBEDDED: Settings(Kind.GPU, 1, True, WarmUp.EVERY_SIZE, True, True),
}
# ONNX Runtime's CUDA provider computes no quantised convolution: on a GPU it would convert around each one.
_QUANTIZED = dict.fromkeys(Place, Settings(Kind.CPU, 1, True, WarmUp.SMALLEST, False, False))
_ON_A_GPU = Settings(Kind.GPU, 1, True, WarmUp.EVERY_SIZE, True, False)
_TENSORRT = dict.fromkeys((Place.PLAIN, Place.GPU_CONTAINER, Place.GPU_EMBEDDED), _ON_A_GPU)
_SETTINGS = {**dict.fromkeys(Engine, _TENSORRT), Engine.ONNX_RUNTIME: _ONNX_RUNTIME}


def places_of(variant: Variant) -> tuple[Place, ...]:
    """The places that a model has a configuration for, the plain one first."""
    return tuple(_settings(variant))


def places_without_queue(variant: Variant) -> tuple[Place, ...]:
    """The places where a model has no dynamic batching, and so Triton no queue that can be bounded."""
    return tuple(place for place, settings in _settings(variant).items() if not settings.dynamic_batching)


def settings_of(variant: Variant, place: Place) -> Settings:
    """What is right for a model in a place; in one it has no configuration for, as Triton reads: the plain one's."""
    settings = _settings(variant)
    return settings.get(place, settings[Place.PLAIN])


def _settings(variant: Variant) -> dict[Place, Settings]:
    quantized_on_cpu = variant.engine is Engine.ONNX_RUNTIME and variant.precision.quantized
    return _QUANTIZED if quantized_on_cpu else _SETTINGS[variant.engine]
