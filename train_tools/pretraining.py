"""The recipe `pretrain`: a pair from random weights, by a published recipe, in the course that `adapt` takes too."""

import logging

from .recipe_in_effect import ACCUMULATION, ROWS, settle
from .recipe_text import recipe_line
from .recipes import run_course


logger = logging.getLogger(__name__)


def pretrain(arguments, training_args, *, given=(), defaults=()):
    """Pretrain a pair: train or load a tokenizer, pack the text, and train by the numbers of a preset.

    What `output_dir` holds then, and what is left where something fails, is as for [`adapt`]: also
    `adapt_results.json`.

    Args:
        arguments ([`PretrainArguments`])
        training_args (`TrainingArguments`): left as it is. A field that does not stand at its default wins over the
            preset.
        given (collection of `str`): fields of `training_args` that win, even if they stand at their defaults.
        defaults (`dict`): values in `training_args` that the caller sets where nobody gives any.

    Returns:
        [`AdaptResult`]

    Raises:
        ValueError, OSError, KeyboardInterrupt: as [`adapt`].
    """
    recipe = settle(arguments, training_args, given=given, defaults=defaults)
    if training_args.process_index == 0:
        logger.info(recipe_line(recipe))
    # The rows of a step stay; how many there are at once, an accelerator's memory may decide.
    given = {*given, ACCUMULATION} | {one.name for one in recipe.settings}
    defaults = dict(defaults) | ({} if ROWS in given else {ROWS: getattr(recipe.training_args, ROWS)})
    return run_course(arguments, recipe.training_args, given, defaults)
