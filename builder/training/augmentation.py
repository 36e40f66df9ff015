"""Augmentation as batched tensor code on the device that trains: no workers, no per-image Python.

Every function takes its randomness from a `torch.Generator` on the CPU: the numbers are few, and the same seed then
gives the same augmentation on a CPU and on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor


def crop_and_flip(
    images: Tensor,
    padding: int,
    generator: Generator,
    *,
    uncropped: float = 0.0,
    after_crop: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Take a random crop of the original size out of each image, its border mirrored, and flip half of them.

    Args:
        images: any dtype [N, H, W, 3].
        padding: how many pixels a crop may reach over each edge, less than H and W.
        generator: the source of randomness.
        uncropped: share of the images, 0..1, that are only flipped.
        after_crop: changes the other images, [M, H, W, 3], once they are cropped.

    Returns:
        A new tensor of the same shape.
    """
    count, height, width, _ = images.shape
    moved = torch.rand(count, 1, generator=generator) >= uncropped
    rows, columns = (
        _mirrored(
            moved * torch.randint(-padding, padding + 1, (count, 1), generator=generator) + torch.arange(length), length
        )
        for length in (height, width)
    )
    flipped = torch.rand(count, 1, generator=generator) < 0.5
    columns = torch.where(flipped, columns.flip(1), columns)
    rows, columns = rows.to(images.device), columns.to(images.device)
    batch = torch.arange(count, device=images.device)
    crops = images[batch[:, None, None], rows[:, :, None], columns[:, None, :]]
    if after_crop is not None:
        cropped = moved.nonzero()[:, 0].to(images.device)
        crops[cropped] = after_crop(crops[cropped])
    return crops


def _mirrored(position: Tensor, length: int) -> Tensor:
    """Reflect positions outside 0..length-1 at the edge pixels, as `torch.nn.functional.pad(mode="reflect")` does."""
    last = length - 1
    return last - (last - position.abs()).abs()


def cutout(images: Tensor, size: int, generator: Generator) -> Tensor:
    """Set a `size` x `size` square of each normalised image [N, 3, H, W] to zero, the mean; squares may hang over."""
    count, _, height, width = images.shape
    inside = []
    for length in (height, width):
        start = torch.randint(length, (count, 1), generator=generator) - size // 2
        position = torch.arange(length)
        inside.append(((position >= start) & (position < start + size)).to(images.device, non_blocking=True))
    hole = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return images.masked_fill(hole, 0)


def cutmix(images: Tensor, targets: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Paste one rectangle of another image of the batch into each, and mix the targets by area.

    Args:
        images: normalised [N, 3, H, W].
        targets: class probabilities [N, C].
        generator: the source of randomness.

    Returns:
        Images and targets of the same shapes. One rectangle serves the whole batch (Yun et al. 2019, algorithm 1,
        with the mixing ratio uniform, which is Beta(1, 1)).
    """
    count, _, height, width = images.shape
    other = torch.randperm(count, generator=generator).to(images.device, non_blocking=True)
    side = (1 - torch.rand(1, generator=generator)).sqrt().item()
    bounds = []
    for length in (height, width):
        centre = int(torch.randint(length, (1,), generator=generator))
        half = int(length * side) // 2
        bounds.append((max(centre - half, 0), min(centre + half, length)))
    (top, bottom), (left, right) = bounds
    mixed = images.clone()
    mixed[:, :, top:bottom, left:right] = images[other, :, top:bottom, left:right]
    share = (bottom - top) * (right - left) / (height * width)
    return mixed, (1 - share) * targets + share * targets[other]


def mixup(images: Tensor, targets: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Blend each image of the batch with another, and the targets alike.

    Args:
        images: normalised [N, 3, H, W].
        targets: class probabilities [N, C].
        generator: the source of randomness.

    Returns:
        Images and targets of the same shapes. One ratio serves the whole batch (Zhang et al. 2018, with the ratio
        uniform, which is Beta(1, 1)).
    """
    other = torch.randperm(len(images), generator=generator).to(images.device, non_blocking=True)
    share = torch.rand(1, generator=generator).item()
    return images.lerp(images[other], share), targets.lerp(targets[other], share)


def mix(
    images: Tensor, targets: Tensor, cutmix_share: float, mixup_share: float, generator: Generator
) -> tuple[Tensor, Tensor]:
    """One batch through `cutmix`, `mixup` or neither, with these probabilities; see there for the rest."""
    drawn = torch.rand(1, generator=generator).item()
    if drawn < cutmix_share:
        return cutmix(images, targets, generator)
    if drawn < cutmix_share + mixup_share:
        return mixup(images, targets, generator)
    return images, targets
