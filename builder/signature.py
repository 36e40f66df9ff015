"""The network's contract: what goes in, what comes out, and which batch sizes are worth preparing for.

The export, the Triton configuration, the TensorRT optimization profile, the CUDA graphs and the warm-up all read
these two values; nothing repeats them.
"""

from __future__ import annotations

from dataclasses import dataclass

from cifar10 import CLASS_NAMES, IMAGE_SHAPE


@dataclass(frozen=True)
class Tensor:
    """One input or output of the network.

    Attributes:
        name: the tensor's name in the ONNX graph, in the plan and in config.pbtxt.
        dtype: Triton's data type name, as in `TYPE_UINT8`.
        dims: the shape without the batch dimension.
    """

    name: str
    dtype: str
    dims: tuple[int, ...]


@dataclass(frozen=True)
class Signature:
    """Raw pixels in, logits out; the normalisation is inside the graph.

    UINT8 NHWC is what an image decoder gives: 3,072 bytes an image on the wire instead of 12,288, and no
    preprocessing for a client to get wrong.
    """

    input: Tensor = Tensor("images", "TYPE_UINT8", IMAGE_SHAPE)
    output: Tensor = Tensor("logits", "TYPE_FP32", (len(CLASS_NAMES),))
    class_names: tuple[str, ...] = CLASS_NAMES


@dataclass(frozen=True)
class BatchSizes:
    """The batch sizes the engines are made for.

    Attributes:
        opt: the size TensorRT tunes its kernels for.
        sizes: every size worth a warm-up and a CUDA graph, ascending; the first is the smallest the engine accepts
            (1, or Triton could not pass a single request through) and the last is `max_batch_size`.
    """

    opt: int = 64
    sizes: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128, 256)

    def __post_init__(self) -> None:
        if not self.sizes or list(self.sizes) != sorted(set(self.sizes)) or self.sizes[0] != 1:
            raise ValueError(f"BatchSizes.sizes must ascend from 1, each once; found {self.sizes}")
        if not 1 <= self.opt <= self.sizes[-1]:
            raise ValueError(f"BatchSizes.opt must lie in 1..{self.sizes[-1]}; found {self.opt}")

    @property
    def min(self) -> int:
        """The smallest batch."""
        return self.sizes[0]

    @property
    def max(self) -> int:
        """The largest batch: Triton's `max_batch_size`, the profile's maximum."""
        return self.sizes[-1]


SIGNATURE = Signature()
BATCH_SIZES = BatchSizes()
