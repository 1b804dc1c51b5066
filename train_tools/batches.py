"""How many rows a batch has on an accelerator: tokens that keep it busy, as many as fit, and steps enough to learn."""

from dataclasses import dataclass
from functools import cached_property

from .callbacks.health import PATIENCE


# ELECTRA's own 128 rows of 128. With fewer tokens a card waits for the launches of a small model's kernels.
TOKENS_OF_STEP = 16_384
# A pair from scratch may have learnt nothing in its first `PATIENCE` steps; and a share of the steps warms up, another
# runs out. Larger batches must not leave a run with fewer.
LEAST_STEPS = PATIENCE + 500
ROWS_LOOKED_AT = 10_000  # of the training text, evenly from all, which is enough for a mean
EVEN = 8  # rows: a number that is a multiple of it is as good as the exact one, and easier to read


@dataclass(frozen=True)
class Batches:
    """Rows of a batch on each device.

    Args:
        train (`int`), accumulation (`int`): batches of so many rows, and so many of them a step.
        evaluation (`int`): a power of two, so that runs on similar text have the same: held-out losses are means over
            batches.
        why (`str`): why `train` is what it is, for a person.
    """

    train: int
    accumulation: int
    evaluation: int
    why: str


class TextSize:
    """How long the rows of a tokenized text are.

    Args:
        train_set (`datasets.Dataset`, or a list of `dict`): with `input_ids`.
    """

    def __init__(self, train_set):
        self.rows = len(train_set)
        self._train_set = train_set

    @cached_property
    def widest(self):
        """`list[int]`: token ids of the longest row, of those that were looked at."""
        return max(self._looked_at, key=len)

    @cached_property
    def mean(self):
        """`float`: tokens of a row."""
        return sum(map(len, self._looked_at)) / len(self._looked_at)

    @cached_property
    def _looked_at(self):
        every = -(-self.rows // ROWS_LOOKED_AT)
        return [list(self._train_set[row]["input_ids"]) for row in range(0, self.rows, every)]


def plan_batches(training_args, text, largest_fit, *, rows_given=False, product_given=False):
    """The batches of a run.

    A step has about `TOKENS_OF_STEP` tokens on each device, but no more rows than leave `LEAST_STEPS` steps in
    `num_train_epochs` passes over the text, no more than `training_args` say where they count steps (`max_steps`), and
    never fewer. What does not fit into memory is halved; and where that leaves fewer rows than they say, more batches
    make a step. A product of rows and accumulation that a user gave stays: batches grow in its place, and fewer make a
    step.

    Args:
        training_args (`TrainingArguments`): with the rows that a batch has otherwise.
        text ([`TextSize`]): what is trained on.
        largest_fit (callable): from a number of rows to the largest number, at most that, whose step fits into memory.
        rows_given (`bool`): a user gave the rows of a training batch: no fewer, and without accumulation no more.
        product_given (`bool`): a user gave an accumulation.

    Returns:
        [`Batches`]
    """
    rows, accumulation = training_args.per_device_train_batch_size, training_args.gradient_accumulation_steps
    devices = training_args.world_size * max(1, training_args.n_gpu)
    by_tokens = max(rows, min(_even(TOKENS_OF_STEP / text.mean), text.rows // devices))
    fit = largest_fit(by_tokens)
    evaluation = 2 ** (fit.bit_length() - 1)
    why = f"{by_tokens} rows of {text.mean:.0f} tokens on average keep the device busy"
    if fit < by_tokens:
        why = f"{why}, but {by_tokens} of {len(text.widest)} do not fit into its memory, and {fit} do"
    if product_given:
        train = _divisor(rows * accumulation, max(fit, rows) if rows_given else fit)
        others = rows * accumulation // train
        kept = f"{train} x {others} are {rows} x {accumulation} rows a step, as you gave; {why}"
        return Batches(train, others, evaluation, kept)
    if rows_given:
        return Batches(rows, accumulation, evaluation, why)
    if training_args.max_steps > 0:  # who counts steps means steps of a size
        by_steps, why_fewer = rows, f"a run of `max_steps` keeps {rows}"
    else:
        by_steps = max(rows, _even(text.rows * training_args.num_train_epochs / (LEAST_STEPS * devices)))
        why_fewer = f"with more than {by_steps} the run would have fewer than {LEAST_STEPS:,} steps"
    if by_steps < fit:
        why = f"{why}, but {why_fewer}"
    train = min(fit, by_steps)
    if train < rows:
        train = _divisor(rows, fit)
        why = f"{why}; {train} x {rows // train} are {rows} rows a step"
    return Batches(train, max(1, rows // train), evaluation, why)


def _even(rows):
    return max(1, int(rows) // EVEN * EVEN or int(rows))


def _divisor(number, most):
    """The largest divisor of a number that is at most `most`."""
    return next(rows for rows in range(min(number, most), 0, -1) if number % rows == 0)
