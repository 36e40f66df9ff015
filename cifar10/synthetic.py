"""Images for when there is no dataset: they exercise a server and a network, and say nothing about accuracy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cifar10.constants import CHANNEL_MEAN, CHANNEL_STD, IMAGE_SHAPE
from cifar10.dataset import Images

Field = npt.NDArray[np.float64]

SCALES = (2, 4, 8, 16)
"""Cells along a side of the random fields that are added up; natural images have the most contrast at the coarsest."""

SIDE = IMAGE_SHAPE[0]


def synthetic_images(count: int, seed: int = 0) -> Images:
    """Make images of smooth random colours with a few simple shapes, with CIFAR-10's mean and contrast.

    They have no labels, so no accuracy can be measured on them. They are varied enough for a trained network to sort
    them into several classes. Image i depends on `seed` and i alone.

    Args:
        count: how many.
        seed: another seed gives other images.

    Returns:
        uint8 [count, 32, 32, 3].

    Raises:
        ValueError: `count` is negative.
    """
    images = np.empty((count, *IMAGE_SHAPE), np.uint8)
    for index in range(count):
        images[index] = _image(np.random.default_rng([seed, index]))
    return images


def _image(rng: np.random.Generator) -> Images:
    roughness = rng.uniform(0.4, 1.2)
    # The sky, a lawn, a room: the whole picture has a tint, which no sum of zero-mean fields would give it.
    picture = 0.6 * _colours(rng) + sum(_field(rng, cells) * cells**-roughness for cells in SCALES)
    for _ in range(rng.integers(1, 4)):
        picture = np.where(_shape(rng)[..., None], 1.2 * _colours(rng) + 0.3 * picture, picture)
    pixels = np.asarray(CHANNEL_MEAN) + np.asarray(CHANNEL_STD) * picture
    image: Images = (pixels.clip(0, 1) * 255).round().astype(np.uint8)
    return image


def _colours(rng: np.random.Generator, *shape: int) -> Field:
    """Random colours [..., 3] around zero, more grey than bright: the channels of a photograph go together."""
    return rng.normal(size=(*shape, 1)) + rng.normal(0, 0.4, (*shape, 3))


def _field(rng: np.random.Generator, cells: int) -> Field:
    """A random grid of `cells` + 1 points a side, interpolated linearly to [32, 32, 3]."""
    points = _colours(rng, cells + 1, cells + 1)
    position = np.arange(SIDE) * cells / SIDE
    low = position.astype(int)
    share = position - low
    rows = points[low] * (1 - share)[:, None, None] + points[low + 1] * share[:, None, None]
    blended: Field = rows[:, low] * (1 - share)[:, None] + rows[:, low + 1] * share[:, None]
    return blended


def _shape(rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """The pixels, [32, 32], of an ellipse or a rectangle somewhere in the picture, turned by some angle."""
    y, x = np.mgrid[:SIDE, :SIDE] - rng.uniform(6, 26, (2, 1, 1))
    angle = rng.uniform(0, np.pi)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    length, width = rng.uniform(5, 14), rng.uniform(2, 8)
    ellipse = (along / length) ** 2 + (across / width) ** 2 < 1
    rectangle = (np.abs(along) < length) & (np.abs(across) < width)
    inside: npt.NDArray[np.bool_] = ellipse if rng.random() < 0.5 else rectangle
    return inside
