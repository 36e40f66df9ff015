"""The JPEG loss computed on the device beside what Pillow makes of the same images."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from builder.training import jpeg
from builder.training.jpeg import recompress


def pillow(image: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)  # 4:2:0, as Pillow does unless told otherwise
    return np.asarray(Image.open(file))


@pytest.fixture(scope="module")
def photographs(cifar10_test):
    """Real images, moved off their own blocks, and two hard cases: noise, and the primary colours side by side."""
    shifted = np.roll(cifar10_test.images[:200], (3, 5), axis=(1, 2))
    noise = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    stripes = np.zeros((1, 32, 32, 3), np.uint8)
    for channel in range(3):
        stripes[0, :, channel * 11 : channel * 11 + 11, channel] = 255
    return np.concatenate([shifted, noise, stripes])


@pytest.mark.parametrize("quality", [10, 49, 50, 75, 100])
def test_it_loses_what_pillow_loses(photographs, quality):
    expected = np.stack([pillow(image, quality) for image in photographs]).astype(int)
    found = recompress(torch.from_numpy(photographs), quality).numpy().astype(int)
    loss = np.abs(expected - photographs).mean()
    # libjpeg's DCT is of whole numbers: a coefficient near the middle of a step is now and then rounded the other way
    assert np.abs(found - expected).mean() < max(0.15 * loss, 0.6)


def test_a_grey_image_survives():
    grey = torch.full((1, 32, 48, 3), 77, dtype=torch.uint8)
    assert torch.equal(recompress(grey, 75), grey)


def test_parts_make_the_whole(photographs, monkeypatch):
    images = torch.from_numpy(photographs)
    whole = recompress(images, 75)
    monkeypatch.setattr(jpeg, "IMAGES_AT_ONCE", 7)
    assert torch.equal(recompress(images, 75), whole)
