"""Fast settings: what `adapt` chooses where nobody has chosen, and why.

A setting is chosen only while its field of `TrainingArguments` stands at its default and nobody named it: what a user
gave wins. Each is a function below, from (`TrainingArguments`, model, first batch) to a [`Choice`] or `None`.
"""

import math
import os
from copy import copy
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from transformers import DataCollatorWithPadding, TrainingArguments
from transformers.trainer_pt_utils import AcceleratorConfig

from .batches import TextSize, plan_batches
from .hardware import (
    check_bfloat16,
    cpu_bfloat16_units,
    cuda_bfloat16_units,
    rows_that_fit,
    time_threads,
    usable_cores,
)


DEFAULTS = {field.name: field.default for field in fields(TrainingArguments)}
DEFAULTS["accelerator_config"] = AcceleratorConfig()  # what `TrainingArguments` make of `None`
# The Trainer's length grouping: a field of its own up to 5.0, later a sampling strategy.
GROUPING: tuple[str, Any] = (
    ("train_sampling_strategy", "group_by_length")
    if "train_sampling_strategy" in DEFAULTS
    else ("group_by_length", True)
)
# How far a loss in bfloat16 may be from that in float32, as a share. Rounding moves it by a few thousandths; a sample
# that falls to another token changes what the discriminator reads, and moves a small batch by another percent or so.
BF16_TOLERANCE = 0.05
MIXED_PRECISION = "ACCELERATE_MIXED_PRECISION"  # set by `accelerate launch`, and by TrainingArguments before 5
THREADS = "OMP_NUM_THREADS"
# Fewer threads must save a tenth of a step's time before they are taken: timings differ by some percent anyway.
CLEARLY_FASTER = 0.9
MOST_WORKERS = 4  # that make batches for one device: with two it seldom waits, and with more memory goes for nothing
PROCESSES_HERE = "LOCAL_WORLD_SIZE"  # set by `torchrun` and `accelerate launch`


@dataclass(frozen=True)
class Choice:
    """A setting that was chosen.

    Args:
        setting (`str`): a field of `TrainingArguments`, or `padding` or `threads`, which have none.
        value (`bool`, `int` or `str`)
        why (`str`): the reason, for a person.
    """

    setting: str
    value: Any
    why: str

    def __str__(self):
        return f"fast: {self.setting if self.value is True else f'{self.setting}={self.value}'} ({self.why})"


def choose(training_args, model, batch, *, given=(), defaults=(), resumed=None, train_set=None):
    """Choose the settings that are free. Every process gets the choices of the main one.

    Args:
        training_args (`TrainingArguments`)
        model ([`ElectraRTDForPreTraining`]), batch (`dict` of `torch.LongTensor` of shape `(B, L)`): for the check of
            bfloat16. Both are left as they were, and so is torch's generator.
        given (collection of `str`): fields that a user set, even if to their defaults.
        defaults (`dict`): values that the caller sets where a user gives none, in place of those of
            `TrainingArguments`.
        resumed (`dict`, *optional*): the settings of the run that goes on ([`settings_of_checkpoint`]); no others are
            chosen then, but for those that change no number.
        train_set (`datasets.Dataset`, *optional*): with `input_ids`; without it no batches are chosen.

    Returns:
        `list` of [`Choice`]
    """
    at_rest = {**DEFAULTS, **dict(defaults)}
    free = {
        name
        for name in (*SETTINGS, *BATCHES)
        if name not in given and (name not in at_rest or getattr(training_args, name) == at_rest[name])
    }
    settings, names = SETTINGS, [name for name in SETTINGS if name in free]
    if resumed is not None:
        names = [name for name in names if name not in DEFAULTS or name in ALIKE or resumed.get(name)]
        settings = SETTINGS | {"threads": partial(threads_again, resumed.get("threads"))}
    settled, chosen = copy(training_args), []  # a setting sees what was chosen before it
    for choice in (settings[name](settled, model, batch) for name in names):
        if choice is not None:
            chosen.append(choice)
            if choice.setting in DEFAULTS:
                setattr(settled, choice.setting, choice.value)
    if resumed is not None:
        chosen += batches_again(settled, resumed, free)
    elif train_set is not None:
        chosen += batches(settled, model, TextSize(train_set), free)
    return broadcast_object_list([chosen])[0]


def first_batch(training_args, tokenizer, train_set, *, first=0):
    """A batch of the size that training will have, as the Trainer's collator makes it.

    Args:
        training_args (`TrainingArguments`), tokenizer (`PreTrainedTokenizerBase`), train_set (`datasets.Dataset`)
        first (`int`): its first row.

    Returns:
        `dict` of `torch.LongTensor` of shape `(B, L)`
    """
    rows = range(first, min(first + training_args.per_device_train_batch_size, len(train_set)))
    return DataCollatorWithPadding(tokenizer)([train_set[row] for row in rows])


# ---- The settings -----------------------------------------------------------


def like_lengths(training_args, model, batch):
    """Batches of similar length. (The Trainer ignores it for streams, which group their own blocks.)"""
    return Choice(*GROUPING, "batches of similar length, so that little is padding")


def dynamic_padding(training_args, model, batch):
    """What the stock collator does anyway."""
    return Choice("padding", "longest", "a batch is as wide as its longest sequence")


def fused_adamw(training_args, model, batch):
    """AdamW that updates all weights in one kernel; torch has it for these devices since 2.4."""
    if training_args.device.type in ("cpu", "cuda") and not training_args.deepspeed:
        return Choice("optim", "adamw_torch_fused", "AdamW in one kernel")
    return None


def bfloat16(training_args, model, batch):
    """Autocast to bfloat16, with weights in float32, where the hardware has units for it and the loss agrees."""
    if training_args.fp16 or training_args.deepspeed or os.environ.get(MIXED_PRECISION, "no") != "no":
        return None  # the precision is settled elsewhere
    device = training_args.device
    units = cpu_bfloat16_units() if device.type == "cpu" else cuda_bfloat16_units(device)
    if units is None:
        return None
    in_float32, in_bfloat16 = check_bfloat16(model, batch, device)
    figures = f"the first batch's loss is {in_bfloat16:.4f}, in float32 {in_float32:.4f}"
    if abs(in_bfloat16 - in_float32) <= BF16_TOLERANCE * abs(in_float32):
        return Choice("bf16", True, f"{units}; {figures}")
    return Choice("bf16", False, f"{units}, but {figures}: more than {BF16_TOLERANCE:.0%} apart")


def tf32(training_args, model, batch):
    """What stays in float32, in TF32: cards of compute capability 8 and newer."""
    device = training_args.device
    if device.type == "cuda" and torch.version.cuda and torch.cuda.get_device_capability(device)[0] >= 8:
        return Choice("tf32", True, f"{torch.cuda.get_device_name(device)} has it")
    return None


def threads(training_args, model, batch):
    """As many threads as make a step fastest, of the cores that this process may use.

    torch takes all cores of the host. A container may have fewer; and where other work runs beside, threads that wait
    for each other make small steps many times slower than one thread. So the first batch is timed.
    """
    if training_args.device.type != "cpu" or THREADS in os.environ:
        return None
    most = min(usable_cores(), torch.get_num_threads())
    if most == 1 or training_args.full_determinism:  # sums differ with the number of threads: no clock decides then
        is_fewer = most < torch.get_num_threads()
        return Choice("threads", most, "the cores that this process may use") if is_fewer else None
    seconds = time_threads(model, batch, sorted({1, min(4, most), most}), bf16=training_args.bf16)
    fastest = min(seconds, key=lambda number: seconds[number])
    chosen = fastest if seconds[fastest] < CLEARLY_FASTER * seconds[most] else most
    figures = ", ".join(f"{taken:.3f} s with {number}" for number, taken in seconds.items())
    return Choice("threads", chosen, f"forward and backward of the first batch take {figures}")


def threads_again(number, training_args, model, batch):
    """As many as the run had that goes on: with another number, sums differ in their last bits."""
    if training_args.device.type != "cpu" or THREADS in os.environ or number is None:
        return None
    if number <= usable_cores():
        return Choice("threads", number, "as in the run that is resumed: its sums are the same to the last bit")
    return threads(training_args, model, batch)


def loss_as_it_is(training_args, model, batch):
    """Log a loss that is not a number as what it is.

    Not with fp16, which leaves out the steps that overflow: one of them would hide all later losses from the log.
    """
    if training_args.device.type == "cpu" or training_args.fp16:
        return None
    why = "the filter makes the device wait twice a batch, and hides what RTDHealthCallback looks for"
    return Choice("logging_nan_inf_filter", False, why)


def copies_beside(training_args, model, batch):
    """Copy a batch to the card while it computes, which needs pinned memory."""
    if training_args.device.type != "cuda" or not training_args.dataloader_pin_memory:
        return None
    return Choice("accelerator_config", {"non_blocking": True}, "batches are copied while the card computes")


def workers(training_args, model, batch):
    """Processes that make batches, so that the one that launches kernels does nothing else.

    They live for an epoch. With those that live on (`dataloader_persistent_workers`) each later epoch draws one random
    number less: a run that is resumed at the beginning of one would mask other tokens than if it had not ended.
    """
    if training_args.device.type != "cuda":
        return None
    cores = usable_cores() // int(os.environ.get(PROCESSES_HERE, 1))
    number = min(MOST_WORKERS, cores - 1)
    if number < 2:
        return None
    why = f"of {cores} cores for this device; the process that launches kernels does nothing else"
    return Choice("dataloader_num_workers", number, why)


def batches(training_args, model, text, free):
    """Rows of a batch on an accelerator, see [`plan_batches`]: `list` of [`Choice`].

    Args: text ([`TextSize`]); free (collection of `str`): fields that nobody gave.
    """
    settled_elsewhere = training_args.auto_find_batch_size or training_args.dataloader_drop_last
    if training_args.device.type == "cpu" or settled_elsewhere or training_args.deepspeed or training_args.fsdp:
        return []  # weights that lie in parts cannot be tried out here

    def largest_fit(rows):
        dtype = torch.bfloat16 if training_args.bf16 else torch.float16 if training_args.fp16 else None
        return rows_that_fit(model, text.widest, rows, training_args.device, dtype=dtype)

    rows, accumulation, evaluation = BATCHES
    if rows not in free and accumulation in free and evaluation not in free:
        return []
    given = {"rows_given": rows not in free, "product_given": accumulation not in free}
    plan = plan_batches(training_args, text, largest_fit, **given)
    chosen = [Choice(rows, plan.train, plan.why), Choice(accumulation, plan.accumulation, plan.why)]
    if evaluation in free:
        why = "so many rows fit in training; compare held-out losses at one number, they are means of batches"
        chosen.append(Choice(evaluation, plan.evaluation, why))
    return [choice for choice in chosen if choice.value != getattr(training_args, choice.setting)]


def batches_again(training_args, resumed, free):
    """Those of the run that goes on, which are its steps and its order; not against what a user gives now."""
    rows, accumulation, evaluation = BATCHES
    now = {name: getattr(training_args, name) for name in (rows, accumulation)}
    then = {name: resumed.get(name) or value for name, value in now.items()}
    is_the_same_step = math.prod(now.values()) == math.prod(then.values())
    names = [evaluation] if evaluation in free else []
    if (rows in free and accumulation in free) or (accumulation not in free and is_the_same_step):
        names = [rows, accumulation, *names]
    return [Choice(name, resumed[name], "as in the run that is resumed") for name in names if resumed.get(name)]


# By field of `TrainingArguments`, in the order in which they are chosen.
SETTINGS = {
    GROUPING[0]: like_lengths,
    "padding": dynamic_padding,
    "optim": fused_adamw,
    "bf16": bfloat16,
    "tf32": tf32,
    "threads": threads,
    "logging_nan_inf_filter": loss_as_it_is,
    "accelerator_config": copies_beside,
    "dataloader_num_workers": workers,
}
BATCHES = ("per_device_train_batch_size", "gradient_accumulation_steps", "per_device_eval_batch_size")
# A run computes the same numbers with them and without: one that is resumed need not have had them.
ALIKE = ("padding", "logging_nan_inf_filter", "accelerator_config", "dataloader_num_workers")
