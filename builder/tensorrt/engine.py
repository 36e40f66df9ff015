"""An engine made from a plan: its tensors, its layers, its answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.errors import TensorRTError
from builder.tensorrt.cuda import Device
from builder.tensorrt.engine_inspector import Inspection, parse_inspection
from builder.tensorrt.library import TENSORRT, Library
from builder.tensorrt.log import begin_log, create, errors_of, remedy

if TYPE_CHECKING:
    from types import ModuleType

    import numpy as np
    import tensorrt as trt
    from numpy.typing import NDArray

    from builder.signature import Signature

Shape = tuple[int, ...]


@dataclass(frozen=True)
class EngineTensor:
    """An input or output of an engine.

    Attributes:
        name: as in the ONNX graph.
        is_input: or else an output.
        dtype: TensorRT's name: UINT8, FLOAT, HALF.
        shape: -1 where it is dynamic.
        profile: smallest, optimal and largest shape of an input in profile 0; empty for an output.
    """

    name: str
    is_input: bool
    dtype: str
    shape: Shape
    profile: tuple[Shape, ...]


def invalidity(tensorrt: ModuleType, plan: bytes) -> str:
    """Why this machine's GPU, driver or library cannot run a plan, told from its header; empty where they can.

    Raises:
        TensorRTError: TensorRT could not start.
    """
    runtime: trt.Runtime = create(tensorrt.Runtime, begin_log(tensorrt))
    validity, diagnostics = runtime.get_engine_validity(plan)
    if validity != tensorrt.EngineValidity.INVALID:
        return ""
    reasons: dict[str, int] = {
        name: int(member) for name, member in tensorrt.EngineInvalidityDiagnostics.__members__.items()
    }
    return ", ".join(name for name, bit in reasons.items() if diagnostics & bit) or "it gives no reason"


class LoadedPlan:
    """A plan, deserialised on this machine's GPU.

    Args:
        tensorrt: TensorRT.
        plan: its bytes.
        version_compatible: whether it was built so; such a plan holds code that the runtime must be allowed to run.
        library: which one `tensorrt` is.

    Raises:
        TensorRTError: this TensorRT or this GPU cannot load it.
    """

    def __init__(
        self, tensorrt: ModuleType, plan: bytes, *, version_compatible: bool = False, library: Library = TENSORRT
    ) -> None:
        self._tensorrt = tensorrt
        self._log: trt.ILogger = begin_log(tensorrt)
        self._runtime: trt.Runtime = create(tensorrt.Runtime, self._log)
        if version_compatible:
            self._runtime.engine_host_code_allowed = True
        engine: trt.ICudaEngine | None = self._runtime.deserialize_cuda_engine(plan)
        if engine is None:
            reason = errors_of(self._log)
            said = f"{library.name} {tensorrt.__version__} cannot load this plan: {reason}"
            raise TensorRTError(said, remedy(reason, library.loads))
        self._engine: trt.ICudaEngine = engine

    def tensors(self) -> tuple[EngineTensor, ...]:
        """Inputs and outputs, in the engine's order."""
        return tuple(self._tensor(self._engine.get_tensor_name(index)) for index in range(self._engine.num_io_tensors))

    def _tensor(self, name: str) -> EngineTensor:
        is_input = self._engine.get_tensor_mode(name) == self._tensorrt.TensorIOMode.INPUT
        dtype: trt.DataType = self._engine.get_tensor_dtype(name)
        profile = self._engine.get_tensor_profile_shape(name, 0) if is_input else ()
        shape = tuple(self._engine.get_tensor_shape(name))
        return EngineTensor(name, is_input, dtype.name, shape, tuple(tuple(shape) for shape in profile))

    def inspect(self, input_name: str, input_shape: Shape) -> Inspection:
        """Ask the engine inspector about every layer.

        Args:
            input_name: the input with the dynamic batch.
            input_shape: without one, TensorRT answers "N/A due to dynamic shapes" instead of a layer's precision.
        """
        context = self._context()
        context.set_input_shape(input_name, input_shape)
        inspector: trt.EngineInspector = self._engine.create_engine_inspector()
        inspector.execution_context = context
        return parse_inspection(inspector.get_engine_information(self._tensorrt.LayerInformationFormat.JSON))

    def _context(self) -> trt.IExecutionContext:
        context: trt.IExecutionContext | None = self._engine.create_execution_context()
        if context is None:
            raise TensorRTError(
                f"TensorRT has no memory for this plan's activations: {errors_of(self._log)}",
                "free GPU memory (nvidia-smi shows who holds it) and try again",
            )
        return context

    def runner(self, signature: Signature) -> Runner:
        """This plan as a function of images."""
        return Runner(self._tensorrt, self._context(), signature)


class Runner:
    """A plan as a function: images [N, 32, 32, 3] UINT8 -> logits [N, 10] FP32, through TensorRT's own runtime."""

    def __init__(self, tensorrt: ModuleType, context: trt.IExecutionContext, signature: Signature) -> None:
        self._tensorrt = tensorrt
        self._context: trt.IExecutionContext = context
        self._signature = signature
        self._device = Device()

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run one batch.

        Raises:
            TensorRTError: TensorRT refused the batch, or failed; or GPU memory ran out.
        """
        import numpy as np

        source, target = self._signature.input, self._signature.output
        pixels = np.ascontiguousarray(images)
        logits = np.empty((len(images), *target.dims), np.float32)
        log: trt.ILogger = begin_log(self._tensorrt)
        with (
            self._device.memory(pixels.nbytes) as device_images,
            self._device.memory(logits.nbytes) as device_logits,
            self._device.stream() as stream,
        ):
            self._device.to_gpu(device_images, pixels)
            accepted = (
                self._context.set_input_shape(source.name, pixels.shape)
                and self._context.set_tensor_address(source.name, device_images)
                and self._context.set_tensor_address(target.name, device_logits)
                and self._context.execute_async_v3(stream)
            )
            self._device.synchronize(stream)
            if not accepted:
                raise TensorRTError(f"TensorRT refused a batch of {len(images)} images: {errors_of(log)}")
            self._device.from_gpu(logits, device_logits)
        return logits
