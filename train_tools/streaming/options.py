"""What a streamed run may be told, and what it takes where nothing is said."""

import math
from dataclasses import fields, replace

from transformers.trainer_utils import IntervalStrategy, SaveStrategy


BUFFER = 10_000  # rows
HELD_OUT_ROWS = 1_000  # of a source
EVALUATIONS = 20  # of a run, and checkpoints
ACCELERATOR = ("split_batches", "dispatch_batches")


def check_stream_fields(arguments):
    """Refuse fields that contradict each other, and fill in what is open.

    Args: arguments ([`RunArguments`]): changed in place. Raises: ValueError.
    """
    if not arguments.streaming:
        for name in ("mixture", "shuffle_buffer", "validation_rows"):
            value = getattr(arguments, name)
            if value is not None:
                raise ValueError(
                    f"`{name}={_shown(value)}` is for text that is streamed: give `streaming=True` with `max_steps`, "
                    f"or leave `{name}` out."
                )
        return
    if arguments.shuffle_buffer is None:
        arguments.shuffle_buffer = BUFFER
    if arguments.shuffle_buffer < 0:
        raise ValueError(f"`shuffle_buffer` is {arguments.shuffle_buffer}: it must be 0 (no shuffling) or more rows.")
    if arguments.validation_rows is not None and arguments.validation_file:
        raise ValueError("`validation_rows` and `validation_file` both say what is held out: give one of them.")
    if arguments.validation_rows is None and not arguments.validation_file:
        arguments.validation_rows = HELD_OUT_ROWS
    if arguments.validation_rows is not None and arguments.validation_rows < 1:
        raise ValueError(f"`validation_rows` is {arguments.validation_rows}: it must be 1 or more.")
    if arguments.validation_split != type(arguments).validation_split:
        raise ValueError(
            f"`validation_split={arguments.validation_split}` is a share of a text of known length, which a stream is "
            f"not: give `validation_rows` ({HELD_OUT_ROWS}), or `validation_file`."
        )
    _check_mixture(arguments)


def check_stream_options(arguments, training_args):
    """Refuse what cannot be done with a stream.

    Args: arguments ([`RunArguments`]); training_args (`TrainingArguments`). Raises: ValueError.
    """
    if training_args.max_steps <= 0:
        raise ValueError(
            "`streaming` reads text of unknown length: give `max_steps`, how many steps the run has. A text that ends "
            "before is begun again."
        )
    if not arguments.from_random_weights and arguments.replay_file:
        raise ValueError(
            f"`replay_file` is drawn from as a whole, and a stream is not: give it as another `train_file`, and the "
            f"shares as `mixture`, such as `mixture={1 - arguments.replay_share:g} {arguments.replay_share:g}`."
        )
    if training_args.auto_find_batch_size:
        raise ValueError("`auto_find_batch_size` changes what a batch is, by which a stream counts: leave it out.")
    for name in ACCELERATOR:
        if getattr(training_args.accelerator_config, name):
            raise ValueError(
                f"`accelerator_config` says {name}: leave it out, each process streams its own part of the text."
            )


def steps_in_place_of_epochs(training_args, given):
    """A streamed run is one epoch: where nobody says when, it evaluates and saves by steps.

    Args:
        training_args (`TrainingArguments`); given (collection of `str`): fields of it that stay.

    Returns:
        `TrainingArguments`, the same where nothing changes
    """
    defaults = {field.name: field.default for field in fields(training_args)}
    often = max(1, math.ceil(training_args.max_steps / EVALUATIONS))
    changes = {}
    for kind, strategy, epoch in (("eval", IntervalStrategy.STEPS, "epoch"), ("save", SaveStrategy.STEPS, "epoch")):
        name, steps = f"{kind}_strategy", f"{kind}_steps"
        if name not in given and getattr(training_args, name) == epoch:
            changes[name] = strategy
            if steps not in given and getattr(training_args, steps) == defaults[steps]:
                changes[steps] = often
    return replace(training_args, **changes) if changes else training_args


def _check_mixture(arguments):
    mixture, files = arguments.mixture, arguments.train_file
    if mixture is None:
        return
    if len(mixture) != len(files):
        raise ValueError(
            f"`mixture` has {len(mixture)} weights for {len(files)} sources ({', '.join(map(str, files))}): give one "
            "for each `train_file`. A folder or a pattern in quotation marks is one."
        )
    if not all(math.isfinite(weight) and weight > 0 for weight in mixture):
        raise ValueError(f"`mixture` is {_shown(mixture)}: weights must be above 0. Leave out what is not to be read.")
    if len(set(files)) < len(files):
        raise ValueError(
            f"`train_file` names a source twice ({', '.join(files)}): give it once, with a larger weight."
        )


def _shown(value):
    return " ".join(f"{one:g}" for one in value) if isinstance(value, (list, tuple)) else value
