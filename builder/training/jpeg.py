"""What JPEG does to an image, as batched tensor code on the device that trains: 4:2:0, baseline, libjpeg's defaults.

A crop shifts the 8x8 blocks of an image that was a JPEG before; compressed again, it has them where the images to be
classified have theirs. Only the loss is computed, no bytes: colours, subsampling, DCT, rounding, and back.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

IMAGES_AT_ONCE = 10_000
"""A bound on the memory: about 0.5 GB while they are worked on."""

# ITU-T T.81, annex K.1: the tables that every encoder scales by its quality.
_LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)


# ITU-T T.871 (JFIF): luminance and the two colour differences of red, green and blue.
_YCC = ((0.299, 0.587, 0.114), (-0.168735892, -0.331264108, 0.5), (0.5, -0.418687589, -0.081312411))
_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136286, -0.714136286), (1.0, 1.772, 0.0))


def recompress(images: Tensor, quality: int) -> Tensor:
    """Give images the loss of a JPEG file.

    Args:
        images: uint8 [N, H, W, 3], RGB; H and W are multiples of 16, so that no block is padded.
        quality: 1..100, as libjpeg and Pillow count it.

    Returns:
        uint8 of the same shape: what Pillow gives for the file's bytes, but for the rounding of a few pixels.
    """
    return torch.cat([_recompress(part, quality) for part in images.split(IMAGES_AT_ONCE)])


def _recompress(images: Tensor, quality: int) -> Tensor:
    device, (height, width) = images.device, images.shape[1:3]
    planes = (images.float() @ torch.tensor(_YCC, device=device).T).permute(0, 3, 1, 2).round()
    luminance = _quantized(planes[:, :1] - 128, _table(_LUMINANCE, quality, device)) + 128
    halved = _halving(height, device) @ planes[:, 1:] @ _halving(width, device).T
    colours = _quantized(_rounded(halved), _table(_CHROMINANCE, quality, device))
    colours = (_doubling(height, device) @ colours @ _doubling(width, device).T).round()
    pixels = torch.cat([luminance, colours], dim=1).permute(0, 2, 3, 1) @ torch.tensor(_RGB, device=device).T
    return pixels.round().clamp(0, 255).to(torch.uint8)


def _quantized(samples: Tensor, table: Tensor) -> Tensor:
    """Samples around 0, [N, C, H, W], through the DCT of their 8x8 blocks, rounded to the table's steps, and back."""
    height, width = samples.shape[2:]
    rows, columns = _dct(height, samples.device), _dct(width, samples.device)
    steps = table.repeat(height // 8, width // 8)
    coefficients = (rows @ samples @ columns.T / steps).round() * steps
    return (rows.T @ coefficients @ columns).round().clamp(-128, 127)


def _table(table: tuple[tuple[int, ...], ...], quality: int, device: torch.device) -> Tensor:
    """The quantisation steps at a quality, as libjpeg's `jpeg_quality_scaling` scales them."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return ((torch.tensor(table) * scale + 50) // 100).clamp(1, 255).float().to(device)


@functools.cache
def _dct(length: int, device: torch.device) -> Tensor:
    """The orthonormal DCT-II of every 8 samples, as one matrix [length, length]."""
    position = torch.arange(8, dtype=torch.float64)
    block = torch.cos((2 * position + 1) * position[:, None] * torch.pi / 16) / 2
    block[0] /= 2**0.5
    matrix: Tensor = torch.block_diag(*[block] * (length // 8))
    return matrix.float().to(device)


@functools.cache
def _halving(length: int, device: torch.device) -> Tensor:
    """The mean of every two samples: [length / 2, length]."""
    matrix: Tensor = torch.block_diag(*[torch.full((1, 2), 0.5)] * (length // 2))
    return matrix.to(device)


@functools.cache
def _doubling(length: int, device: torch.device) -> Tensor:
    """Libjpeg's "fancy upsampling", [length, length / 2]: 3/4 of the nearer sample, 1/4 of the next."""
    half = length // 2
    matrix = torch.zeros(length, half)
    for sample in range(length):
        nearer = sample // 2
        other = nearer + (1 if sample % 2 else -1)
        matrix[sample, nearer] += 0.75
        matrix[sample, min(max(other, 0), half - 1)] += 0.25
    return matrix.to(device)


def _rounded(halved: Tensor) -> Tensor:
    """Quarters to whole numbers as libjpeg rounds them: halves down and up in turn along a row."""
    bias = torch.tensor([0.25, 0.5], device=halved.device).repeat(halved.shape[3] // 2)
    return (halved + bias).floor()
