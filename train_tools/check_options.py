"""Fields of `TrainingArguments` that `adapt` cannot do as asked, refused before anything is read.

The Trainer checks some of its arguments itself. Others end in an error after an epoch, in a run that trains nothing,
or do nothing at all for this objective.
"""

import json
import logging
import math
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, get_scheduler
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

from ..hub_tools.run_record import STATE_FILE
from .callbacks import LOSS_PARTS
from .counts import DETAILED


logger = logging.getLogger(__name__)

# Field: its least value, and the greatest. Every one of these must be a finite number, too.
LEAST = {
    "learning_rate": 0,
    "weight_decay": 0,
    "max_grad_norm": 0,  # no clipping
    "warmup_steps": 0,
    "eval_delay": 0,
    "per_device_train_batch_size": 1,
    "per_device_eval_batch_size": 1,
    "gradient_accumulation_steps": 1,
    "eval_accumulation_steps": 1,
    "dataloader_num_workers": 0,
    "dataloader_prefetch_factor": 1,
    "ddp_timeout": 1,
    "seed": 0,
}
POSITIVE = ("adam_epsilon", "num_train_epochs", "logging_steps", "eval_steps", "save_steps", "neftune_noise_alpha")
# Field: what makes it one that is not looked at.
UNUSED = {
    "num_train_epochs": lambda training_args: training_args.max_steps > 0,
    "logging_steps": lambda training_args: training_args.logging_strategy != IntervalStrategy.STEPS,
    "eval_steps": lambda training_args: training_args.eval_strategy != IntervalStrategy.STEPS,
    "save_steps": lambda training_args: training_args.save_strategy != SaveStrategy.STEPS,
}
GREATEST = {"seed": 2**32 - 1}  # numpy's
# Field: the only value it can have here, and why.
FIXED: dict[str, tuple[Any, str]] = {
    "bf16_full_eval": (
        False,
        "it turns the weights themselves to bfloat16 before training. `bf16=True` evaluates in it",
    ),
    "fp16_full_eval": (
        False,
        "it turns the weights themselves to float16 before training. `fp16=True` evaluates in it",
    ),
    "label_names": (None, "batches of this objective have no labels"),
    "label_smoothing_factor": (0.0, "it is for labels, which this objective does not have"),
    "include_for_metrics": ([], "it is for `compute_metrics`, which adapt does not have"),
    "include_inputs_for_metrics": (False, "it is for `compute_metrics`, which adapt does not have"),
    "batch_eval_metrics": (False, "it is for `compute_metrics`, which adapt does not have"),
    "do_predict": (False, "adapt trains and evaluates"),
    "debug": ([], "the Trainer's tracing stops at outputs that are no floating-point numbers, such as masks"),
    "length_column_name": ("length", "the lengths are those of the sequences"),
    "past_index": (-1, "this model keeps no past"),
    "save_safetensors": (True, "pairs are saved as safetensors"),
}
METRICS = ("loss", *LOSS_PARTS, *DETAILED)
BETTER_WHEN_SMALLER = ("gen_perplexity",)  # beside those that end in `loss`, which TrainingArguments know
# Optimisers that are built from the model: they check themselves.
BUILT_FROM_MODEL = ("galore", "apollo", "lomo")


def check_options(training_args):
    """Refuse what cannot be done, whatever the text is.

    Args:
        training_args (`TrainingArguments`)

    Raises:
        ValueError: with the field, its value, and what is allowed.
    """
    for name, (value, why) in FIXED.items():
        if getattr(training_args, name, value) != value:
            raise ValueError(f"`{name}` is {getattr(training_args, name)}: leave it out, {why}.")
    if training_args.fp16 and training_args.device.type == "cpu":
        raise ValueError("`fp16` does nothing on a CPU: give `bf16=True`, or leave it out.")
    _check_numbers(training_args)
    _check_optimizer(training_args)
    _check_scheduler(training_args)
    _check_metric(training_args)
    checkpoint = training_args.resume_from_checkpoint
    if checkpoint is not None and not (Path(checkpoint) / STATE_FILE).is_file():
        raise ValueError(
            f"`resume_from_checkpoint={checkpoint}` is no checkpoint of a Trainer: it has no {STATE_FILE}. To go on "
            "with the run in `output_dir`: `resume=True`."
        )


def check_rows(training_args, train_rows, held_out_rows):
    """Refuse what leaves no batch to train on, or none to evaluate.

    Args:
        training_args (`TrainingArguments`)
        train_rows, held_out_rows (`int`): sequences.

    Raises:
        ValueError: `dataloader_drop_last` would drop all of them.
    """
    if not training_args.dataloader_drop_last:
        return
    for what, rows, batch, option in (
        ("training", train_rows, training_args.train_batch_size, "per_device_train_batch_size"),
        ("held-out", held_out_rows, training_args.eval_batch_size, "per_device_eval_batch_size"),
    ):
        batch *= training_args.world_size
        if rows < batch:
            raise ValueError(
                f"`dataloader_drop_last` would drop all {rows} {what} sequences: a batch is {batch}. Give a smaller "
                f"`{option}`, or leave `dataloader_drop_last` out."
            )
        if what == "held-out" and rows % batch:
            logger.warning(
                f"`dataloader_drop_last`: {rows % batch} of {rows} held-out sequences are not evaluated. Without it, "
                "all are."
            )


def _check_numbers(training_args):
    numbers = LEAST | dict.fromkeys(POSITIVE, 0) | {"max_steps": -1}
    for name, least in numbers.items():
        value = getattr(training_args, name, None)
        if value is None or (name in UNUSED and UNUSED[name](training_args)):
            continue
        greatest = GREATEST.get(name, math.inf)
        is_too_small = value <= least if name in POSITIVE else value < least
        if not math.isfinite(value) or is_too_small or value > greatest:
            allowed = f"more than {least}" if name in POSITIVE else f"{least} or more"
            at_most = f"at most {greatest}" if greatest < math.inf else "finite"
            raise ValueError(f"`{name}` is {value}: it must be {allowed}, and {at_most}.")
    if training_args.max_steps == 0:
        raise ValueError("`max_steps` is 0: it must be 1 or more, or -1 to go by `num_train_epochs`.")


def _check_optimizer(training_args):
    name = str(getattr(training_args.optim, "value", training_args.optim))
    if any(kind in name for kind in BUILT_FROM_MODEL):
        return
    try:
        optimizer, options = Trainer.get_optimizer_cls_and_kwargs(training_args)
        optimizer([_one_weight(training_args)], **options)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        given = f" with `optim_args={training_args.optim_args}`" if training_args.optim_args else ""
        raise ValueError(f"`optim={name}`{given} cannot be made: {error}.") from error


def _check_scheduler(training_args):
    name = str(getattr(training_args.lr_scheduler_type, "value", training_args.lr_scheduler_type))
    options = training_args.lr_scheduler_kwargs
    optimizer = torch.optim.SGD([_one_weight(training_args)], lr=1.0)
    steps = {"num_warmup_steps": 1, "num_training_steps": max(training_args.max_steps, 10**6)}
    try:
        get_scheduler(name, optimizer, **steps, scheduler_specific_kwargs=options)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        given = f" with `lr_scheduler_kwargs={json.dumps(options, default=str)}`" if options else ""
        raise ValueError(
            f"`lr_scheduler_type={name}`{given} cannot be made: {error}. What a schedule takes is given by name: "
            '`lr_scheduler_kwargs={"num_cycles": 2}`.'
        ) from error


def _one_weight(training_args):
    return torch.nn.Parameter(torch.zeros(1, device=training_args.device))


def _check_metric(training_args):
    chooses = training_args.load_best_model_at_end or training_args.save_strategy == SaveStrategy.BEST
    if chooses and training_args.eval_strategy == IntervalStrategy.NO:
        option = "load_best_model_at_end" if training_args.load_best_model_at_end else "save_strategy=best"
        raise ValueError(f"`{option}` needs evaluations to choose by: `eval_strategy` is no, give epoch or steps.")
    if training_args.metric_for_best_model is None:
        return
    name = training_args.metric_for_best_model.removeprefix("eval_")
    if name not in METRICS:
        raise ValueError(
            f"`metric_for_best_model` is {training_args.metric_for_best_model}: there are {', '.join(METRICS)}."
        )
    if name in BETTER_WHEN_SMALLER and training_args.greater_is_better:
        raise ValueError(f"`metric_for_best_model={name}` is better when smaller: give `greater_is_better=False`.")
