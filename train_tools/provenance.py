"""What a run was made of, for the model card: names and settings, and no path of this disk."""

from dataclasses import asdict, fields
from pathlib import Path

import datasets
import torch
import transformers

from ..hub_tools.names import is_hub_id
from .phases import schedules_of
from .stock_networks import CUT


STARTS = ("generator", "discriminator", "checkpoint", "preset", "tokenizer")
GIVEN = (
    "vocab_size",
    "do_lower_case",
    "packing",
    "document_column",
    "generator_layers",
    "replay_share",
    "freeze",
    "generator_warmup",
    "attention_in_parts",
    "unpadded_attention",
    "compile_layers",
)  # what is chosen stands in `fast`
TRAINING_SETTINGS = (
    "learning_rate",
    "lr_scheduler_type",
    "weight_decay",
    "num_train_epochs",
    "max_steps",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "bf16",
    "fp16",
    "seed",
)
OF_PRETRAINING = ("warmup_steps", "adam_beta1", "adam_beta2", "adam_epsilon", "max_grad_norm")
LIBRARIES = (torch, transformers, datasets)


def describe_run(arguments, training_args, choices=()):
    """The part of `adapt_results.json` that says how the run was made.

    Args:
        arguments ([`RunArguments`]), training_args (`TrainingArguments`)
        choices (`list` of [`fast.Choice`]): the fast settings that were chosen.

    Returns:
        `dict`: `settings` (`dict`, nothing in it is `None`), `datasets` (`list[str]`, Hub ids) and `fast` (`list` of
        `dict`: the setting, its value, and why)
    """
    told = {field.name: getattr(arguments, field.name) for field in fields(arguments)}
    texts = {name: told.get(name) or [] for name in ("train_file", "replay_file")}
    settings = {name: _without_path(told[name]) for name in STARTS if name in told}
    if told.get("discriminator") and not told["generator"]:
        settings["generator"] = CUT
    settings |= {name: ", ".join(map(_without_path, files)) for name, files in texts.items()}
    settings["max_seq_length"] = arguments.max_seq_length
    settings |= {name: told[name] for name in GIVEN if name in told}
    settings["schedules"] = ", ".join(f"{name} {one}" for name, one in schedules_of(arguments).items())
    names = TRAINING_SETTINGS + (OF_PRETRAINING if arguments.from_random_weights else ())
    settings |= {name: getattr(training_args, name) for name in names}
    settings |= {library.__name__: library.__version__ for library in LIBRARIES}
    settings["lr_scheduler_type"] = str(getattr(training_args.lr_scheduler_type, "value", "")) or None
    return {
        "settings": {name: value for name, value in settings.items() if _says_something(value)},
        "datasets": [files[0] for files in texts.values() if len(files) == 1 and not _is_local(files[0])],
        "fast": [asdict(choice) for choice in choices],
    }


def _says_something(value):
    return not (value is None or value is False or value in ("", -1))  # 0 does: a seed, a weight decay


def _without_path(name):
    return Path(name).name if name and _is_local(name) else name


def _is_local(name):
    return not is_hub_id(name, with_owner=True)
