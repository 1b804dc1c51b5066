"""A preset and what a user gives, which wins: the numbers of a run, each with its source."""

from dataclasses import dataclass, replace
from typing import Any

from transformers import TrainingArguments

from .batches import TOKENS_OF_STEP
from .fast import DEFAULTS
from .presets import GROUPS, PRESETS


ROWS, ACCUMULATION = "per_device_train_batch_size", "gradient_accumulation_steps"
WARMUPS = ("warmup_steps", "warmup_ratio")
# Before release 5 of transformers, a share of the steps has a field of its own.
WARMUP = "warmup_steps" if TrainingArguments.__dataclass_fields__["warmup_steps"].type is float else "warmup_ratio"
OF_TOKENIZER = ("vocab_size", "do_lower_case", "strip_accents")
YOURS = "yours"


@dataclass(frozen=True)
class Setting:
    """One number of a run.

    Args:
        name (`str`): as in `GROUPS`.
        value: in effect; `None`: another setting says it.
        source (`str`): where it comes from: a publication, `YOURS`, or how it was computed.
        published: what the preset says, where that is another value; else `None`.
    """

    name: str
    value: Any
    source: str
    published: Any = None


@dataclass(frozen=True)
class RecipeInEffect:
    """The numbers of a run.

    Args:
        preset (`str`): its name.
        settings (`list` of [`Setting`]): in the order of `GROUPS`.
        training_args (`TrainingArguments`): with all of them.
        step (`str`): how the rows of a step are divided, in words.
        max_seq_length (`int`): tokens of a row.
    """

    preset: str
    settings: list
    training_args: TrainingArguments
    step: str
    max_seq_length: int

    def overridden(self):
        """`list` of [`Setting`]: those that are not the preset's."""
        return [one for one in self.settings if one.published is not None]


def settle(arguments, training_args, *, given=(), defaults=()):
    """Put a preset's numbers where a user gives none.

    Args:
        arguments ([`PretrainArguments`]): filled in already.
        training_args (`TrainingArguments`): left as it is. A field that does not stand at its default is a user's.
        given (collection of `str`): fields that are a user's though they stand at their defaults.
        defaults (`dict`): values that the caller sets where nobody gives any, in place of those of
            `TrainingArguments`.

    Returns:
        [`RecipeInEffect`]
    """
    preset, at_rest = PRESETS[arguments.preset], {**DEFAULTS, **dict(defaults)}

    def is_given(name):
        return name in given or (name in at_rest and getattr(training_args, name) != at_rest[name])

    numbers = preset.numbers
    found = {name: _of_arguments(name, number, arguments) for name, number in numbers.items()}
    if "generator_warmup" in arguments.given:
        found["generator_warmup"] = _yours("generator_warmup", arguments.generator_warmup, numbers)
    changes = {}
    for name in (*GROUPS["Optimiser"], "max_steps"):
        if is_given(name):
            found[name] = _yours(name, getattr(training_args, name), numbers)
        elif name not in WARMUPS:
            changes[name] = numbers[name].value
    if is_given("num_train_epochs") and not is_given("max_steps"):
        words = f"{training_args.num_train_epochs:g} epochs"
        found["max_steps"], changes["max_steps"] = _yours("max_steps", words, numbers), -1
    if any(map(is_given, WARMUPS)):
        found["warmup_steps"] = _yours("warmup_steps", _said_warm_up(training_args), numbers)
    else:
        found["warmup_steps"], warm_up = _warm_up(numbers, found["max_steps"].value)
        changes |= warm_up
    found["batch"], rows, step = _batch(arguments, training_args, numbers, is_given)
    settled = replace(training_args, **changes, **rows)
    ordered = [found[name] for group in GROUPS.values() for name in group if name in found]
    return RecipeInEffect(arguments.preset, ordered, settled, step, arguments.max_seq_length)


def _of_arguments(name, number, arguments):
    if arguments.tokenizer and name in OF_TOKENIZER:
        return Setting(name, None, "the tokenizer that you give", number.value)
    if name == "strip_accents" and number.value and not arguments.do_lower_case:
        return Setting(name, False, "off without do_lower_case", number.value)
    if name in arguments.given:
        return _yours(name, getattr(arguments, name), {name: number})
    return Setting(name, number.value, number.source)


def _yours(name, value, numbers):
    """A user's value; where it is the preset's, that is said."""
    value = getattr(value, "value", value)  # of an enumeration
    number = numbers.get(name)
    if number is None:
        return Setting(name, value, YOURS, "none")
    if value == number.value:
        return Setting(name, value, number.source)
    return Setting(name, value, YOURS, number.value)


def _said_warm_up(training_args):
    steps, ratio = (getattr(training_args, name, None) for name in WARMUPS)
    if steps and steps >= 1:
        return int(steps)
    share = steps or ratio or 0
    return f"{share:.1%} of all" if share else 0


def _warm_up(numbers, steps):
    """The warm-up, and fields of `TrainingArguments`: in proportion in a shorter run, no longer in a longer one."""
    number, whole = numbers["warmup_steps"], numbers["max_steps"].value
    if isinstance(steps, str):  # epochs: how many steps these are, the text decides
        share = number.value / whole
        words = f"{share:.1%} of all"
        return Setting("warmup_steps", words, "as large a share as the preset's", number.value), {WARMUP: share}
    if steps >= whole:
        return Setting("warmup_steps", number.value, number.source), {"warmup_steps": number.value}
    shorter = max(1, round(number.value * steps / whole))
    source = f"{number.value:,} x {steps:,} / {whole:,}: shorter with the run"
    return Setting("warmup_steps", shorter, source, number.value), {"warmup_steps": shorter}


def _batch(arguments, training_args, numbers, is_given):
    """The rows of a step: what is said of them, fields of `TrainingArguments`, and how they are divided in words."""
    wanted = numbers["batch"].value
    processes = training_args.world_size * max(1, training_args.n_gpu)
    share = -(-wanted // processes)  # of one device
    rows, accumulation = (getattr(training_args, name) for name in (ROWS, ACCUMULATION))
    if is_given(ROWS) and not is_given(ACCUMULATION):
        accumulation = -(-share // rows)
    elif is_given(ACCUMULATION) and not is_given(ROWS):
        rows = -(-share // accumulation)
    elif not is_given(ROWS):
        most = max(1, TOKENS_OF_STEP // arguments.max_seq_length)
        rows = next(number for number in range(min(share, most), 0, -1) if share % number == 0)
        accumulation = share // rows
    whole = rows * accumulation * processes
    step = f"{rows} rows x {accumulation} batches x {processes} {'process' if processes == 1 else 'processes'}"
    source = YOURS if is_given(ROWS) or is_given(ACCUMULATION) else f"so that {processes} processes have as many"
    setting = Setting("batch", whole, source, wanted) if whole != wanted else _yours("batch", whole, numbers)
    return setting, {ROWS: rows, ACCUMULATION: accumulation}, step
