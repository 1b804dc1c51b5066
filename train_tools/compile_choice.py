"""Whether a run of `adapt` compiles the layers of its networks: on a GPU, where that is seen to pay."""

import logging

import torch
from accelerate.utils import broadcast_object_list

from .compiled_layers import compile_layers, pays, why_not
from .fast import Choice, first_batch


logger = logging.getLogger(__name__)

SETTING = "compile_layers"
# Compiling and timing take a minute or two, and a step of a small model some 20 ms without: shorter runs are over
# before they have made up for it.
STEPS_WORTH_A_TRY = 10_000
BATCHES_TIMED = 3


def choose_compiled(model, arguments, training_args, tokenizer, train_set, resumed=None):
    """Compile the layers of a model where a user asks for it, or where timed steps say that it pays.

    Args:
        model ([`ElectraRTDForPreTraining`]): goes to the device where it will be trained, if it is tried.
        arguments ([`AdaptArguments`]), training_args (`TrainingArguments`): with what was chosen.
        tokenizer (`PreTrainedTokenizerBase`), train_set (`datasets.Dataset`)
        resumed (`dict`, *optional*): the fast settings of the run that goes on.

    Returns:
        `list` of [`Choice`]: what was chosen.

    Raises:
        ValueError: a user asks for it, and it cannot be done here.
    """
    if arguments.compile_layers == "yes":
        reason = why_not(model, training_args)
        if reason is not None:
            raise ValueError(f"`{SETTING}=yes` cannot be done here: {reason}. Leave it out.")
        _compile(model)
    if arguments.compile_layers or not arguments.fast or training_args.device.type != "cuda":
        return []
    if resumed is not None and not resumed.get(SETTING):
        return []
    reason = why_not(model, training_args)
    steps = steps_of_run(training_args, len(train_set))
    if reason is not None:
        choice = Choice(SETTING, False, reason)
    elif resumed is not None:
        choice = Choice(SETTING, True, "as in the run that is resumed")
    elif training_args.full_determinism:  # two runs have to be alike
        choice = Choice(SETTING, False, "with full_determinism no clock decides")
    elif steps < STEPS_WORTH_A_TRY:
        choice = Choice(SETTING, False, f"{steps:,} steps would not make up for the time that compiling takes")
    else:
        choice = _timed(model, training_args, tokenizer, train_set)
    (choice,) = broadcast_object_list([choice])  # clocks differ: every process does as the main one
    if choice.value:
        _compile(model)
    return [choice]


def _compile(model):
    logger.info("The layers are compiled with the first batches: these take a minute or so.")
    compile_layers(model)


def steps_of_run(training_args, rows):
    """Optimiser steps, about: `int`. Args: training_args (`TrainingArguments`); rows (`int`): of the training text."""
    if training_args.max_steps > 0:
        return training_args.max_steps
    batches = training_args.gradient_accumulation_steps * training_args.world_size
    return int(rows * training_args.num_train_epochs / (training_args.train_batch_size * batches))


def _timed(model, training_args, tokenizer, train_set):
    device, size = training_args.device, training_args.per_device_train_batch_size
    firsts = [size * number for number in range(BATCHES_TIMED) if size * number < len(train_set)]
    batches = [first_batch(training_args, tokenizer, train_set, first=first) for first in firsts]
    batches = [{name: value.to(device) for name, value in batch.items()} for batch in batches]
    dtype = torch.bfloat16 if training_args.bf16 else torch.float16 if training_args.fp16 else None
    verdict = pays(model.to(device), batches, autocast=dtype)
    return Choice(SETTING, verdict.chosen, verdict.why)
