"""What `adapt` and `pretrain` may be told: their own fields and those of `TrainingArguments`, and the defaults."""

import argparse
from dataclasses import dataclass

import torch
from transformers import HfArgumentParser, TrainingArguments

from electra_rtd_launcher.options import CommandParser

from . import manual
from .train_tools.arguments import MINI_PAIR, SAMPLE, AdaptArguments
from .train_tools.hardware import has_accelerator
from .train_tools.presets import PRESETS
from .train_tools.pretrain_arguments import PretrainArguments
from .train_tools.recipe_in_effect import WARMUP
from .train_tools.shell import command_name, line


# Safe for going on from a released pair; whatever a user gives wins.
ADAPT_DEFAULTS = {
    "learning_rate": 5e-5,
    WARMUP: 0.1,
    "weight_decay": 0.01,
    "per_device_train_batch_size": 32,
    "per_device_eval_batch_size": 32,
    "eval_strategy": "epoch",
    "save_strategy": "epoch",
    "save_total_limit": 2,
    "logging_steps": 50,
    "dataloader_pin_memory": torch.cuda.is_available(),  # without an accelerator it only makes torch warn
}

# Beside the numbers of a preset. Google's code saves every 1,000 steps.
PRETRAIN_DEFAULTS = {
    "per_device_eval_batch_size": 32,
    "eval_strategy": "steps",
    "eval_steps": 5000,
    "save_strategy": "steps",
    "save_steps": 1000,
    "save_total_limit": 2,
    "logging_steps": 50,
    "dataloader_pin_memory": torch.cuda.is_available(),
}

# What `adapt --example` runs, where no option says otherwise.
EXAMPLE = {
    "checkpoint": str(MINI_PAIR),
    "train_file": [str(SAMPLE / "techdocs_train.csv.gz")],
    "validation_file": [str(SAMPLE / "techdocs_held_out.csv.gz")],
    "text_column": "text",
    "output_dir": "electra-rtd-sample",
    "max_seq_length": 128,
    "learning_rate": 3e-4,
    "num_train_epochs": 1.25,  # about two minutes on two cores
    "per_device_train_batch_size": 16,
    "logging_steps": 50,
    "eval_strategy": "no",
    "save_strategy": "no",
    "sample_steps": 0,  # its closing words show some
}


# What `adapt --from_scratch` called its sizes, up to release 0.9.
FROM_SCRATCH = {"tiny": "tiny", "small": "electra-small", "base": "electra-base"}


@dataclass
class AdaptTrainingArguments(TrainingArguments):
    """`TrainingArguments` under a heading of their own in `--help`."""

    _argument_group_name = "training: every field of transformers.TrainingArguments"

    def __post_init__(self):
        if (self.bf16 or self.bf16_full_eval) and not has_accelerator():
            self.use_cpu = True  # without it, TrainingArguments look for bfloat16 on an accelerator alone
        try:
            super().__post_init__()
        except TypeError as error:  # from what an option in JSON names
            raise ValueError(f"a training option cannot be used: {error}.") from error


class DataclassParser(CommandParser, HfArgumentParser):
    """`HfArgumentParser`, with our manners about options."""


class _Example(argparse.Action):
    """`--example` changes defaults before anything is parsed; here it is listed, and leaves nothing behind."""

    def __init__(self, option_strings, dest, **options):
        super().__init__(option_strings, dest=argparse.SUPPRESS, default=argparse.SUPPRESS, nargs=0, **options)

    def __call__(self, *_):
        """Nothing is left to do."""


def adapt_parser():
    """The parser of `electra-rtd adapt`: `HfArgumentParser` with our defaults."""
    parser = DataclassParser(
        (AdaptArguments, AdaptTrainingArguments),
        prog="electra-rtd adapt",
        description=manual.ADAPT,
        usage="electra-rtd adapt [options]",
    )
    parser.add_argument("--example", action=_Example, help="Adapt the package's own pair to sample text: see above.")
    parser.set_defaults(**ADAPT_DEFAULTS)
    return parser


def pretrain_parser():
    """The parser of `electra-rtd pretrain`: `HfArgumentParser`, whose numbers come from the preset later."""
    parser = DataclassParser(
        (PretrainArguments, AdaptTrainingArguments),
        prog="electra-rtd pretrain",
        description=manual.PRETRAIN,
        usage="electra-rtd pretrain --preset PRESET [options]",
    )
    parser.set_defaults(**PRETRAIN_DEFAULTS)
    return parser


def parse_pretrain(argv):
    """What a command line of `pretrain` says.

    Args:
        argv (`list[str]`)

    Returns:
        [`PretrainArguments`], `TrainingArguments`, and the `set[str]` of fields that it gives.
    """
    parser, given = pretrain_parser(), given_options(argv, pretrain_parser())
    arguments, training_args = parser.parse_args_into_dataclasses(argv, look_for_args_file=False)
    training_args.__class__ = TrainingArguments  # `training_args.bin` must open without this package
    return arguments, training_args, given


def given_options(argv, parser=None):
    """The options that a command line gives, in whatever spelling and with whatever value.

    Args:
        argv (`list[str]`); parser (`CommandParser`, *optional*): is used up; that of `adapt` by default.

    Returns:
        `set[str]`: names of fields.
    """
    parser, absent = parser or adapt_parser(), object()
    names = vars(parser.parse_known_args(argv)[0])
    parser.set_defaults(**dict.fromkeys(names, absent))
    return {name for name, value in vars(parser.parse_known_args(argv)[0]).items() if value is not absent}


def parse_adapt(argv):
    """What a command line of `adapt` says.

    Args:
        argv (`list[str]`)

    Returns:
        [`AdaptArguments`], `TrainingArguments`, and the `set[str]` of fields that it gives.
    """
    refuse_from_scratch(argv)
    parser, given = adapt_parser(), given_options(argv)
    if "--example" in argv:
        # Its own folder is replaced at each call; one that somebody named is not.
        parser.set_defaults(**EXAMPLE, overwrite=not given & {"output_dir", "resume"})
        given |= EXAMPLE.keys()
    # Not what a file `electra-rtd.args` beside the program may say: what was typed.
    arguments, training_args = parser.parse_args_into_dataclasses(argv, look_for_args_file=False)
    training_args.__class__ = TrainingArguments  # `training_args.bin` must open without this package
    return arguments, training_args, given


def refuse_from_scratch(argv):
    """Refuse what `adapt` could do up to release 0.9, and say what does it now.

    Args: argv (`list[str]`): of `adapt`. Raises: ValueError: `--from_scratch` is among them.
    """
    words = [part for word in argv for part in (word.split("=", 1) if word.startswith("--from") else [word])]
    place = next((place for place, word in enumerate(words) if word.replace("-", "_") == "__from_scratch"), None)
    if place is None:
        return
    size = words[place + 1] if place + 1 < len(words) else ""
    preset = FROM_SCRATCH.get(size, "PRESET")
    rest = [*words[:place], *words[place + 2 :]]
    raise ValueError(
        f"--from_scratch is a command of its own now, with published recipes:\n\n  {command_name()} "
        f"{line('pretrain', '--preset', preset, *rest)}\n\nWhat you give wins over the recipe; --print_recipe shows "
        f"its numbers. Presets are {', '.join(PRESETS)}."
    )
