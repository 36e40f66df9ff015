from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from builder.training.augmentation import crop_and_flip, cutmix, cutout, mix, mixup
from builder.training.recipes import RECIPES, Schedule
from builder.training.schedule import learning_rate


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_every_crop_is_a_window_of_the_reflected_image_or_its_mirror():
    image = torch.arange(32 * 32 * 3).reshape(1, 32, 32, 3)
    padded = functional.pad(image.permute(0, 3, 1, 2).float(), (4,) * 4, mode="reflect").permute(0, 2, 3, 1).long()[0]
    windows = {
        tuple(crop.flatten().tolist())
        for top in range(9)
        for left in range(9)
        for window in [padded[top : top + 32, left : left + 32]]
        for crop in (window, window.flip(1))
    }
    crops = crop_and_flip(image.expand(200, -1, -1, -1), 4, generator())
    found = {tuple(crop.flatten().tolist()) for crop in crops}
    assert found <= windows
    assert len(found) > 100, "the crops hardly vary"


def test_without_padding_only_flips_remain():
    images = torch.randint(0, 256, (50, 32, 32, 3), dtype=torch.uint8)
    for image, crop in zip(images, crop_and_flip(images, 0, generator()), strict=True):
        assert torch.equal(crop, image) or torch.equal(crop, image.flip(1))


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_share_left_uncropped_is_only_flipped(share):
    images = torch.randint(0, 256, (400, 32, 32, 3), dtype=torch.uint8, generator=generator(1))
    crops = crop_and_flip(images, 4, generator(), uncropped=share)
    still = [
        torch.equal(crop, image) or torch.equal(crop, image.flip(1)) for image, crop in zip(images, crops, strict=True)
    ]
    # one of 81 crops happens to be the image itself
    assert sum(still) / 400 == pytest.approx(share + (1 - share) / 81, abs=0 if share == 1 else 0.08)


def test_cutout_clears_at_most_its_square():
    cut = cutout(torch.ones(200, 3, 32, 32), 12, generator())
    cleared = (cut == 0)[:, 0].sum(dim=(1, 2))
    assert cleared.max() == 144
    assert cleared.min() < 144, "squares at the border hang over"
    assert set(cut.unique().tolist()) == {0.0, 1.0}


def test_cutmix_mixes_targets_by_the_area_it_pastes():
    images = torch.arange(16.0)[:, None, None, None].expand(-1, 3, 32, 32).contiguous()
    targets = torch.eye(16)
    for seed in range(20):
        mixed, probabilities = cutmix(images, targets, generator(seed))
        torch.testing.assert_close(probabilities.sum(1), torch.ones(16))
        for index in range(16):
            own = (mixed[index, 0] == index).float().mean()
            assert probabilities[index, index] == pytest.approx(own.item(), abs=1e-6)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_what_follows_a_crop_touches_the_cropped_images_alone(share):
    images = torch.randint(0, 200, (400, 32, 32, 3), dtype=torch.uint8, generator=generator(1))
    plain = crop_and_flip(images, 4, generator(), uncropped=share)
    changed = crop_and_flip(images, 4, generator(), uncropped=share, after_crop=lambda crops: crops + 50)
    touched = (changed != plain).flatten(1).all(1)
    assert torch.equal(changed, plain + 50 * touched[:, None, None, None].to(torch.uint8))
    assert touched.float().mean() == pytest.approx(1 - share, abs=0 if share in (0, 1) else 0.08)


def test_mixup_blends_images_and_targets_alike():
    images = torch.arange(16.0)[:, None, None, None].expand(-1, 3, 32, 32).contiguous()
    targets = torch.eye(16)
    for seed in range(20):
        blended, probabilities = mixup(images, targets, generator(seed))
        torch.testing.assert_close(probabilities.sum(1), torch.ones(16))
        torch.testing.assert_close(blended[:, 0, 0, 0], probabilities @ torch.arange(16.0))


@pytest.mark.parametrize(("cut", "up"), [(0.0, 0.0), (0.5, 0.3), (1.0, 0.0), (0.0, 1.0)])
def test_batches_are_mixed_as_often_as_the_recipe_says(cut, up):
    images = torch.rand(8, 3, 32, 32, generator=generator(1))
    targets, random = torch.eye(8), generator()
    counts = {"none": 0, "cut": 0, "up": 0}
    for _ in range(400):
        mixed, _ = mix(images, targets, cut, up, random)
        own = (mixed == images).flatten(1).float().mean(1)
        # a pasted rectangle leaves some pixels of every image as they were, a blend none; a blend's images that are
        # paired with themselves are left whole
        kind = "none" if own.min() == 1 else "up" if ((own == 0) | (own > 0.99)).all() and (own == 0).any() else "cut"
        counts[kind] += 1
    # one rectangle in some dozens is empty or covers everything
    assert counts["cut"] / 400 == pytest.approx(cut, abs=0.1)
    assert counts["up"] / 400 == pytest.approx(up, abs=0.1)


@pytest.mark.parametrize("schedule", list(Schedule))
def test_rates_rise_to_the_peak_then_fall(schedule):
    import dataclasses

    recipe = dataclasses.replace(RECIPES["best"], schedule=schedule, warmup=0.1)
    rates = [learning_rate(recipe, step, 1000) for step in range(1000)]
    assert max(rates) == pytest.approx(recipe.learning_rate, rel=0.02)
    assert rates[:100] == sorted(rates[:100])
    assert rates[100:] == sorted(rates[100:], reverse=True)
    assert 0 < rates[-1] <= {Schedule.STEP: 0.1}.get(schedule, 0.011) * recipe.learning_rate


def test_the_steps_of_ten_epochs_are_the_tutorials():
    """PyTorch's transfer-learning tutorial: StepLR(step_size=7, gamma=0.1)."""
    rates = [learning_rate(RECIPES["baseline"], epoch * 390, 10 * 390) for epoch in range(10)]
    assert rates == pytest.approx([1e-3] * 7 + [1e-4] * 3)
