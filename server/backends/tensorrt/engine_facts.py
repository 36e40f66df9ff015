"""What a TensorRT engine says of itself, as plain values: what is decided of it needs neither TensorRT nor a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Shape = tuple[int, ...]


@dataclass(frozen=True)
class EngineTensor:
    """An input or output.

    Attributes:
        name: its name.
        is_input: or an output.
        data_type: Triton's name, as TYPE_UINT8; TYPE_INVALID where Triton has none.
        shape: -1 where it varies.
        is_linear: laid out row by row, as Triton's clients send it.
        is_shape: its values, not its shape, decide other shapes.
    """

    name: str
    is_input: bool
    data_type: str
    shape: Shape
    is_linear: bool = True
    is_shape: bool = False


@dataclass(frozen=True)
class Range:
    """The shapes of an input that an optimization profile covers."""

    min: Shape
    opt: Shape
    max: Shape

    def violation(self, shape: Shape) -> str:
        """What of a shape lies outside, in words; empty where nothing does."""
        if len(shape) != len(self.max):
            return f"expected {len(self.max)} dimensions, found {len(shape)}"
        for axis, (low, dim, high) in enumerate(zip(self.min, shape, self.max, strict=True)):
            if not low <= dim <= high:
                return f"dimension {axis} must lie between {low} and {high}, found {dim}"
        return ""

    def distance(self, shape: Shape) -> int:
        """How far from what the profile is tuned for."""
        return sum(abs(dim - opt) for dim, opt in zip(shape, self.opt, strict=True))


Profile = Mapping[str, Range]


class UncoveredError(ValueError):
    """No optimization profile covers a batch."""


def nearest_profile(profiles: Mapping[int, Profile], shapes: Mapping[str, Shape]) -> int:
    """The profile that covers these shapes and is tuned for the nearest.

    Args:
        profiles: number -> profile.
        shapes: input name -> shape.

    Raises:
        UncoveredError: none covers them.
    """
    distances, wrong = {}, ""
    for number, profile in profiles.items():
        found = {name: profile[name].violation(shape) for name, shape in shapes.items()}
        if not any(found.values()):
            distances[number] = sum(profile[name].distance(shape) for name, shape in shapes.items())
        wrong = wrong or next((f"input '{name}': {said}" for name, said in found.items() if said), "")
    if not distances:
        raise UncoveredError(f"no optimization profile in use covers the request: {wrong}")
    return min(distances, key=lambda number: distances[number])


@dataclass(frozen=True)
class EngineFacts:
    """An engine.

    Attributes:
        tensors: in its order.
        profiles: for each, input name -> its shapes.
    """

    tensors: tuple[EngineTensor, ...]
    profiles: tuple[Profile, ...]

    @property
    def inputs(self) -> dict[str, EngineTensor]:
        """By name."""
        return {tensor.name: tensor for tensor in self.tensors if tensor.is_input}

    @property
    def outputs(self) -> dict[str, EngineTensor]:
        """By name."""
        return {tensor.name: tensor for tensor in self.tensors if not tensor.is_input}
