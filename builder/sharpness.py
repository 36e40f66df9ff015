"""Sharpness-aware minimisation (Foret et al. 2021): the gradient is taken a step up the loss from where it is applied.

What an update does, with a network `net` and a radius in the units of its parameters:

    summit = Summit(net)
    summit.remember()
    loss_of_a_few_images.backward()
    summit.climb(radius)      # to where the loss is higher
    loss.backward()           # the gradient there
    summit.descend()          # back
    optimizer.step()
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Summit:
    """A place near a network's parameters where the loss is higher.

    Args:
        module: the network; its parameters are moved in place.
    """

    def __init__(self, module: nn.Module) -> None:
        self._parameters: list[Tensor] = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self._buffers = [buffer for buffer in module.buffers() if buffer.is_floating_point()]
        self._parameters_before = [torch.empty_like(parameter) for parameter in self._parameters]
        self._buffers_before = [torch.empty_like(buffer) for buffer in self._buffers]

    @torch.no_grad()
    def remember(self) -> None:
        """Keep the buffers: the pass that finds the direction must not count in BatchNorm's running statistics."""
        _copy(self._buffers, self._buffers_before)

    @torch.no_grad()
    def climb(self, radius: float) -> None:
        """Move the parameters by a step of length `radius` along their gradients, and put the buffers back."""
        _copy(self._buffers_before, self._buffers)
        _copy(self._parameters, self._parameters_before)
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        length = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        steps = torch._foreach_mul(gradients, radius / (length + 1e-12))
        torch._foreach_add_(self._parameters, steps)

    @torch.no_grad()
    def descend(self) -> None:
        """Put the parameters back, exactly."""
        _copy(self._parameters_before, self._parameters)


def _copy(sources: list[Tensor], destinations: list[Tensor]) -> None:
    if sources:  # a network may have no buffers
        torch._foreach_copy_(destinations, sources)
