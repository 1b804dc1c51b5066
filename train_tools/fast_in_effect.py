"""The fast settings of a run at work: in this process, in its log, and in its checkpoints for a run that goes on."""

import logging
import os
from contextlib import contextmanager
from dataclasses import replace

import torch
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from ..hub_tools.run_record import callback_state
from .fast import ALIKE, DEFAULTS, MIXED_PRECISION
from .run_folder import TENSORBOARD


logger = logging.getLogger(__name__)

VARIABLES = (MIXED_PRECISION, TENSORBOARD, "TOKENIZERS_PARALLELISM")


def apply(choices, training_args, **fields_of_adapt):
    """Put the choices into effect: torch's threads, and a new `TrainingArguments`.

    A new one even where nothing changes: it is built for this process as it is now, and resets the precision that an
    earlier run left in accelerate's shared state.

    Args:
        choices (`list` of [`Choice`]), training_args (`TrainingArguments`): left as it is.
        fields_of_adapt: what else is to be in the new one.

    Returns:
        `TrainingArguments`
    """
    changes = {choice.setting: choice.value for choice in choices if choice.setting in DEFAULTS} | fields_of_adapt
    if changes.get("bf16") and training_args.device.type == "cpu":
        changes["use_cpu"] = True  # without it TrainingArguments look for bfloat16 on a GPU alone
    for choice in choices:
        if choice.setting == "threads":
            torch.set_num_threads(choice.value)
    return replace(training_args, **changes)


def settings_to_keep(choices):
    """The choices that a run has to keep when it is resumed: those that change what it computes.

    Args:
        choices (`list` of [`Choice`])

    Returns:
        `dict`: fields of `TrainingArguments`, and `threads`
    """
    return {choice.setting: choice.value for choice in choices if choice.setting not in ALIKE}


def settings_given(arguments):
    """Settings of `adapt` itself that a user gave and a run that goes on has to have, too.

    Args:
        arguments ([`AdaptArguments`])

    Returns:
        `dict`: as [`settings_to_keep`].
    """
    given = {"unpadded_attention": arguments.unpadded_attention, "compile_layers": arguments.compile_layers == "yes"}
    return {name: value for name, value in given.items() if value}


@contextmanager
def process_restored():
    """Runs a block, and gives the process back its number of threads and the variables that a run sets after it.

    TF32 stays as the Trainer set it, as after any `TrainingArguments(tf32=True)`.
    """
    threads, variables = torch.get_num_threads(), {name: os.environ.get(name) for name in VARIABLES}
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        for name, value in variables.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


class FastSettings(TrainerCallback, ExportableState):
    """Writes the settings into the Trainer's checkpoints, so that a resumed run finds them.

    Args:
        settings (`dict`): those of [`settings_to_keep`].
    """

    def __init__(self, settings):
        self.settings = settings

    def state(self):
        return {"args": {"settings": self.settings}, "attributes": {}}


def settings_of_checkpoint(checkpoint):
    """The settings that [`FastSettings`] wrote into a checkpoint of the Trainer.

    Args:
        checkpoint (`str`, path or `None`): a folder with `trainer_state.json`.

    Returns:
        `dict` or `None`: as [`settings_to_keep`], empty where none were chosen; `None` without a checkpoint.
    """
    return checkpoint and callback_state(checkpoint, FastSettings.__name__).get("settings", {})


def say_settings(choices, training_args, earlier, **others):
    """Say which settings were chosen, and which are not those of the run that goes on.

    Args:
        choices (`list` of [`Choice`]), training_args (`TrainingArguments`): with the choices in effect.
        earlier (`dict` or `None`): what the checkpoint holds, see [`settings_of_checkpoint`].
        others: settings of `adapt` itself, where no choice says what they are.
    """
    if training_args.process_index > 0:
        return
    for choice in choices:
        logger.info(choice)
    others = {**others, "threads": torch.get_num_threads()} | {choice.setting: choice.value for choice in choices}
    for name, value in (earlier or {}).items():
        now = others[name] if name in others else getattr(training_args, name)
        if now != value:
            if name == "compile_layers":
                now, value = ("yes" if one else "no" for one in (now, value))
            remedy = f"set OMP_NUM_THREADS={value}" if name == "threads" else f"give `{name}={value}`"
            logger.warning(
                f"fast: {name} is {now}, in the run that is resumed it was {value}: the rest of the run will differ "
                f"from what it would have been. To go on as before, {remedy}."
            )
