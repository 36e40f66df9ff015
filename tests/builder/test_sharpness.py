from __future__ import annotations

import pytest
import torch
from torch import nn

from builder.sharpness import Summit


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)).train()


def climbed(net: nn.Module, radius: float) -> Summit:
    summit = Summit(net)
    summit.remember()
    loss_of(net).backward()
    summit.climb(radius)
    return summit


def loss_of(net: nn.Module) -> torch.Tensor:
    images = torch.randn(32, 4, generator=torch.Generator().manual_seed(1))
    return nn.functional.cross_entropy(net(images), torch.arange(32) % 3)


def test_a_climb_goes_as_far_as_the_radius_along_the_gradient_and_the_loss_rises():
    net = network()
    before = [parameter.detach().clone() for parameter in net.parameters()]
    low = loss_of(net).item()
    climbed(net, 0.3)
    moves = [parameter.detach() - old for parameter, old in zip(net.parameters(), before, strict=True)]
    assert torch.cat([move.flatten() for move in moves]).norm().item() == pytest.approx(0.3, rel=1e-5)
    gradient = torch.cat([parameter.grad.flatten() for parameter in net.parameters()])
    torch.testing.assert_close(torch.cat([move.flatten() for move in moves]), 0.3 * gradient / gradient.norm())
    assert loss_of(net).item() > low


def test_afterwards_parameters_are_what_they_were_and_batch_norm_has_not_seen_the_images():
    net = network()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    summit = climbed(net, 0.3)
    summit.descend()
    for name, tensor in net.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(tensor, before[name]), name


def test_a_flat_loss_moves_nothing():
    net = nn.Linear(4, 3)
    before = net.weight.detach().clone()
    summit = Summit(net)
    summit.remember()
    (0 * net(torch.ones(2, 4)).sum()).backward()
    summit.climb(0.3)
    assert torch.equal(net.weight, before)
