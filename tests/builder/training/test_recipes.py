"""Fields of a recipe set from the command line."""

from __future__ import annotations

import dataclasses

import pytest

from builder.errors import TrainingError
from builder.training.recipes import RECIPES, Schedule, changed, recipe_named

BEST = RECIPES["best"]


def test_values_are_read_as_the_fields_types():
    found = changed(BEST, ["cutmix=0.5", "schedule=cosine", "epochs=7", "pretrained=true", "cutmix=0.25"])
    expected = {"cutmix": 0.25, "schedule": Schedule.COSINE, "epochs": 7, "pretrained": True}
    assert found == dataclasses.replace(BEST, **expected)


def test_nothing_to_set_changes_nothing():
    assert changed(BEST, []) == BEST


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("cutmix", "expected NAME=VALUE"),
        ("=0.5", "expected NAME=VALUE"),
        ("Cutmix=0.5", "expected NAME=VALUE"),
        ("name=mine", "expected NAME=VALUE"),
        ("cutmix=half", "cutmix must be a number; found 'half'"),
        ("cutmix=nan", "cutmix must be 0..1; found nan"),
        ("learning_rate=inf", "learning_rate must be more than 0"),
        ("weight_decay=nan", "weight_decay must be"),
        ("momentum=2", "momentum must be"),
        ("epochs=1.5", "epochs must be a whole number; found '1.5'"),
        ("epochs=", "epochs must be a whole number; found ''"),
        ("epochs=0", "epochs must be 1 or more"),
        ("schedule=up", "schedule must be step or linear or cosine; found 'up'"),
        ("pretrained=perhaps", "pretrained must be true or false; found 'perhaps'"),
    ],
)
def test_what_cannot_be_set_is_said(assignment, said):
    with pytest.raises(TrainingError, match=said):
        changed(BEST, [assignment])


def test_the_fields_are_listed_where_one_is_unknown():
    with pytest.raises(TrainingError) as error:
        changed(BEST, ["speed=9"])
    assert "cutmix" in error.value.hint


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))
def test_a_recipe_names_a_teacher_that_can_be_trained(recipe):
    known = set()
    while recipe.distillation:
        assert recipe.name not in known, "it would wait for itself"
        known.add(recipe.name)
        recipe = recipe_named(recipe.teacher_recipe)
