"""The learning rate over a run, as a pure function."""

from __future__ import annotations

import math

from builder.training.recipes import Recipe, Schedule


def learning_rate(recipe: Recipe, step: int, total: int) -> float:
    """The learning rate of update `step` (counted from 0) out of `total`.

    It rises linearly over the first `recipe.warmup` of the updates, then falls as `recipe.schedule` says; LINEAR and
    COSINE would reach zero one update after the last.
    """
    warmup = recipe.warmup * total
    if step < warmup:
        return recipe.learning_rate * (step + 1) / (warmup + 1)
    progress = (step - warmup) / (total - warmup)
    factor = {
        Schedule.STEP: 0.1 if progress >= 0.7 else 1.0,
        Schedule.LINEAR: 1 - progress,
        Schedule.COSINE: (1 + math.cos(math.pi * progress)) / 2,
    }[recipe.schedule]
    return recipe.learning_rate * factor
