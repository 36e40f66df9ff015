from __future__ import annotations

import numpy as np
import pytest

from cifar10 import synthetic_images


def test_the_same_seed_gives_the_same_images_however_many_are_asked_for() -> None:
    images = synthetic_images(8, seed=3)
    assert images.shape == (8, 32, 32, 3)
    assert images.dtype == np.uint8
    assert np.array_equal(images[:3], synthetic_images(3, seed=3))
    assert not np.array_equal(images, synthetic_images(8, seed=4))


def test_none_and_less_than_none() -> None:
    assert synthetic_images(0).shape == (0, 32, 32, 3)
    with pytest.raises(ValueError, match="negative"):
        synthetic_images(-1)


def test_images_differ_have_structure_and_look_like_cifar_to_a_normalisation() -> None:
    images = synthetic_images(256).astype(float) / 255
    assert len(np.unique(images.reshape(256, -1), axis=0)) == 256
    assert images.mean((0, 1, 2)) == pytest.approx([0.4914, 0.4822, 0.4465], abs=0.05)
    assert images.std((0, 1, 2)) == pytest.approx([0.2470, 0.2435, 0.2616], abs=0.05)
    # Neighbours resemble each other, as in photographs and unlike in noise.
    left, right = images[:, :, :-1].ravel(), images[:, :, 1:].ravel()
    assert np.corrcoef(left, right)[0, 1] > 0.8
    # Whole pictures differ in brightness and tint, or a network would take them all for the same thing.
    assert images.mean((1, 2)).std(0).min() > 0.1
