"""What can go wrong while building, said to a person."""

from __future__ import annotations

from console import GateError, UserError


class BuilderError(UserError):
    """The builder cannot go on until the user or the machine changes something."""


class CheckpointError(BuilderError):
    """A checkpoint is missing, damaged, or of another architecture."""


class CalibrationError(BuilderError):
    """A calibration is missing, damaged, of another checkpoint or graph, or cannot be measured."""


class TrainingError(BuilderError):
    """Training cannot start or go on: a bad value, no such device, out of memory, a loss that is not a number."""


class VerificationError(GateError):
    """A built model does not compute what the network computes: it must not be published."""


class TensorRTError(BuilderError):
    """TensorRT is missing, of another version than the server's, or refused what it was given."""


class PlanError(GateError):
    """A built plan is not what was asked for (precision, tensors, profile): it must not be published."""


class ChangedError(GateError):
    """What lies in the repository is not what was published: it was changed by hand, or is damaged."""
