"""Fast settings: what `adapt` chooses where nobody has chosen, and why.

A setting is chosen only while its field of `TrainingArguments` stands at its default and nobody named it: what a user
gave wins. Each is a function below, from (`TrainingArguments`, model, first batch) to a [`Choice`] or `None`.
"""

import os
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from transformers import DataCollatorWithPadding, TrainingArguments

from .hardware import check_bfloat16, cpu_bfloat16_units, cuda_bfloat16_units, time_threads, usable_cores


DEFAULTS = {field.name: field.default for field in fields(TrainingArguments)}
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


def choose(training_args, model, batch, *, given=(), resumed=None):
    """Choose the settings that are free. Every process gets the choices of the main one.

    Args:
        training_args (`TrainingArguments`)
        model ([`ElectraRTDForPreTraining`]), batch (`dict` of `torch.LongTensor` of shape `(B, L)`): for the check of
            bfloat16. Both are left as they were, and so is torch's generator.
        given (collection of `str`): fields that a user set, even if to their defaults.
        resumed (`dict`, *optional*): the settings of the run that goes on ([`settings_of_checkpoint`]); no others are
            chosen then.

    Returns:
        `list` of [`Choice`]
    """
    free = [name for name in SETTINGS if name not in given and _at_default(training_args, name)]
    settings = SETTINGS
    if resumed is not None:
        free = [name for name in free if name not in DEFAULTS or resumed.get(name)]
        settings = SETTINGS | {"threads": partial(threads_again, resumed.get("threads"))}
    chosen = [settings[name](training_args, model, batch) for name in free]
    return broadcast_object_list([[choice for choice in chosen if choice is not None]])[0]


def first_batch(training_args, tokenizer, train_set):
    """A batch of the size that training will have, as the Trainer's collator makes it.

    Args:
        training_args (`TrainingArguments`), tokenizer (`PreTrainedTokenizerBase`), train_set (`datasets.Dataset`)

    Returns:
        `dict` of `torch.LongTensor` of shape `(B, L)`
    """
    rows = range(min(training_args.per_device_train_batch_size, len(train_set)))
    return DataCollatorWithPadding(tokenizer)([train_set[row] for row in rows])


# ---- The settings -----------------------------------------------------------


def like_lengths(training_args, model, batch):
    """Batches of like length. (The Trainer ignores it for streams; `adapt` has none.)"""
    return Choice(*GROUPING, "batches of like length, so that little is padding")


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


SETTINGS = {
    GROUPING[0]: like_lengths,
    "padding": dynamic_padding,
    "optim": fused_adamw,
    "bf16": bfloat16,
    "tf32": tf32,
    "threads": threads,
}


def _at_default(training_args, name):
    return name not in DEFAULTS or getattr(training_args, name) == DEFAULTS[name]
