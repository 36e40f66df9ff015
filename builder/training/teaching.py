"""A recipe that distils trains its teacher first, in the same command and beside its own files."""

from __future__ import annotations

import dataclasses
import logging

from builder.training.recipes import recipe_named
from builder.training.run import CHECKPOINT_FILE, STATE_FILE, Run

logger = logging.getLogger(__name__)

FOLDER = "teacher"


def taught(run: Run) -> Run:
    """The run with a teacher, trained here where the recipe asks for one and the run names none.

    The teacher is trained like any other network, its own teacher first, into the folder `teacher` of the run's. With
    `resume` one that is finished is taken, and an unfinished one goes on. It shares the student's images, stem and
    batch size, and trains no longer than the student, so that a quick try is quick.

    Raises:
        TrainingError: as `Run.execute`.
    """
    if not (run.recipe.distillation and run.recipe.teacher_recipe) or run.teacher is not None:
        return run
    output = run.output / FOLDER
    finished = output / CHECKPOINT_FILE
    if not (run.resume and finished.is_file()):
        named = recipe_named(run.recipe.teacher_recipe)
        recipe = dataclasses.replace(
            named,
            stem=run.recipe.stem,
            batch_size=run.recipe.batch_size,
            epochs=min(named.epochs, run.recipe.epochs),
        )
        logger.info("training the teacher first (recipe '%s', into %s)", recipe.name, output)
        finished.unlink(missing_ok=True)
        finished = taught(dataclasses.replace(run, recipe=recipe, output=output)).execute()
    begun = (run.output / STATE_FILE).is_file() or (run.output / CHECKPOINT_FILE).is_file()
    return dataclasses.replace(run, teacher=finished, resume=run.resume and begun)
